/**
 * Mistakes that somebody could make, one line each. `planted-faults.js` makes them one by one and asks the tests.
 * `find` must be in the file once, or `planted-faults.js` says which is not.
 */

/**
 * @typedef {object} PlantedFault
 * @property {string} name What goes wrong.
 * @property {string} file
 * @property {string} find The text that is right.
 * @property {string} replace What is put in its place.
 * @property {readonly string[]} tests Words of the paths of the tests that should see it; the fuzzer runs always.
 */

/** @type {readonly PlantedFault[]} */
export const plantedFaults = [
  // --- the bits of allocations ---
  {
    name: "a stop bit forgotten when an allocation shrinks",
    file: "src/core/core.ts",
    find: "words[record + 1] = words[record + 1]! | (1 << (last & 31));",
    replace: "",
    tests: ["semantics/release"],
  },
  {
    name: "a stop bit forgotten in an allocation over several words",
    file: "src/core/granules.ts",
    find: "words[lastRecord + 1] = words[lastRecord + 1]! | (1 << (last & 31));",
    replace: "",
    tests: ["semantics/allocation"],
  },
  {
    name: "a stop bit left by a release over several words",
    file: "src/core/granules.ts",
    find: "words[lastRecord + 1] = words[lastRecord + 1]! & ~(1 << (last & 31));",
    replace: "",
    tests: ["semantics/release"],
  },
  {
    name: "a length over several words off by one",
    file: "src/core/granules.ts",
    find: "if (stop !== 0) return length + lowestBit(stop) + 1;",
    replace: "if (stop !== 0) return length + lowestBit(stop);",
    tests: ["semantics/query"],
  },
  {
    name: "a range whose front is used taken for free",
    file: "src/core/granules.ts",
    find: "if ((words[record]! & (-1 << (granule & 31))) !== 0) return false;",
    replace: "",
    tests: ["semantics/allocation"],
  },
  {
    name: "an interior address taken for a start",
    file: "src/core/core.ts",
    find: "if (continues === 0 && granule << shift === offset) return Status.ok;",
    replace: "if (continues === 0) return Status.ok;",
    tests: ["semantics/release"],
  },
  {
    name: "the padding taken for an allocation",
    file: "src/core/core.ts",
    find: "=== 0 || granule < words[block + Block.padding]!) return Status.notAllocated;",
    replace: "=== 0) return Status.notAllocated;",
    tests: ["semantics/release"],
  },
  {
    name: "the longest run of a word one too long",
    file: "src/core/bits.ts",
    find: "return longer === 0 ? length : length + 1;",
    replace: "return length + 1;",
    tests: ["core/bits"],
  },

  // --- generations ---
  {
    name: "a generation left behind by a release",
    file: "src/core/core.ts",
    find: "words[generations + granule] = 0;",
    replace: "",
    tests: ["semantics/release"],
  },
  {
    name: "a generation given twice",
    file: "src/core/core.ts",
    find: "(words[Header.generation]! + 1) | -0x8000_0000",
    replace: "words[Header.generation]! | -0x8000_0000",
    tests: ["semantics/release"],
  },
  {
    name: "the generations of a block left by a reset",
    file: "src/core/store.ts",
    find: "if (generations !== 0) words.fill(0, generations, generations + capacity);",
    replace: "",
    tests: ["semantics/retention"],
  },

  // --- the index of free runs ---
  {
    name: "a class off by one",
    file: "src/core/run-index.ts",
    find: "return classOfRun(length + (1 << (octave - 2)) - 1);",
    replace: "return classOfRun(length + (1 << (octave - 2)) - 1) + 1;",
    tests: ["core/run-index"],
  },
  {
    name: "a freed run not joined with the one before it",
    file: "src/core/run-index.ts",
    find: "reclaimRunBefore(words, block, word); // the run that enters here is longer than it was",
    replace: "",
    tests: ["semantics/allocation"],
  },
  {
    name: "a full bit left when a word is used",
    file: "src/core/run-index.ts",
    find: "words[index] = words[index]! & ~(1 << (word & 31));",
    replace: "",
    tests: ["semantics/"],
  },
  {
    name: "a dirty block not put in the queue",
    file: "src/core/run-index.ts",
    find: "if (words[block + Block.inDirty + Link.next] === 0) {",
    replace: "if (words[block + Block.inDirty + Link.next] === 1) {",
    tests: ["semantics/allocation"],
  },

  // --- blocks ---
  {
    name: "the end of a block taken for its inside",
    file: "src/core/block-tree.ts",
    find: "else if (offset < doubles[(node >> 1) + Block.size]!) return node;",
    replace: "else if (offset <= doubles[(node >> 1) + Block.size]!) return node;",
    tests: ["core/block-tree", "semantics/query"],
  },
  {
    name: "a missing black node not mended",
    file: "src/core/block-tree.ts",
    find: "if (removedRed === 0) mendMissingBlack(words, child, parent);",
    replace: "",
    tests: ["core/block-tree"],
  },
  {
    name: "an uncle left red",
    file: "src/core/block-tree.ts",
    find: "words[uncle + Block.red] = 0;",
    replace: "",
    tests: ["core/block-tree"],
  },
  {
    name: "an unmapped block still found by its address",
    file: "src/core/store.ts",
    find: "words.fill(0, Lookup.start, Lookup.start + Lookup.entries);",
    replace: "",
    tests: ["semantics/"],
  },
  {
    name: "maxReservedSize not looked at",
    file: "src/core/store.ts",
    find: "if (needed > room) return 0;",
    replace: "",
    tests: ["semantics/allocation"],
  },
  {
    name: "a block planned without its padding",
    file: "src/core/store.ts",
    find: "Math.ceil(((count + words[Header.padding]!) * granuleBytes) / blockSize)",
    replace: "Math.ceil((count * granuleBytes) / blockSize)",
    tests: ["semantics/allocation"],
  },
  {
    name: "a second empty block kept",
    file: "src/core/core.ts",
    find: "return empty !== 0 && empty !== block;",
    replace: "return false;",
    tests: ["semantics/retention"],
  },

  // --- the buffer ---
  {
    name: "a free chunk not joined with the one before it",
    file: "src/core/arena.ts",
    find: "if (before < 0) {",
    replace: "if (before < -1_000_000) {",
    tests: ["core/arena"],
  },
  {
    name: "a chunk handed out with what was in it",
    file: "src/core/arena.ts",
    find: "this.words.fill(0, unit << Unit.shift, (unit + unitCount) << Unit.shift);",
    replace: "",
    tests: ["core/arena"],
  },

  // --- the facade ---
  {
    name: "a write one byte past the end",
    file: "src/engine.ts",
    find: "if (!isIndex(offset) || offset + length > size) {",
    replace: "if (!isIndex(offset) || offset + length > size + 1) {",
    tests: ["semantics/write"],
  },
  {
    name: "a shrink to more than there is",
    file: "src/engine.ts",
    find: "if (!isIndex(newSize) || newSize > size)",
    replace: "if (!isIndex(newSize))",
    tests: ["semantics/release"],
  },
  {
    name: "the span of another allocator accepted",
    file: "src/engine.ts",
    find: "if (mapped.owner !== this) throw refusals.refuseStranger(action, span.rx);",
    replace: "",
    tests: ["semantics/release"],
  },
  {
    name: "a released span accepted",
    file: "src/engine.ts",
    find: "if (!this.isLive(span)) throw refusals.refuseReleased(action, span.rx);",
    replace: "",
    tests: ["semantics/release"],
  },
  {
    name: "a span not looked at again behind a callback",
    file: "src/engine.ts",
    find: 'this.#liveBlock(span, "write"); // the callback may have released the span, or shrunk it',
    replace: "",
    tests: ["semantics/write"],
  },
  {
    name: "released code not overwritten",
    file: "src/engine.ts",
    find: "this.blocks.fill(mapped, granule << mapped.granuleShift, length);",
    replace: "",
    tests: ["semantics/fill"],
  },
  {
    name: "code not overwritten by a reset",
    file: "src/engine.ts",
    find: "if (this.#fills) this.blocks.fill(mapped, 0, mapped.sizeBytes);",
    replace: "",
    tests: ["semantics/fill", "semantics/retention"],
  },
  {
    name: "a block left mapped when there is no room for its records",
    file: "src/block-memory.ts",
    find: "mapped.close();\n      this.#unmap(mapping, sizeBytes);\n      throw error;",
    replace: "mapped.close();\n      throw error;",
    tests: ["faults/"],
  },
  {
    name: "a view still open when its block is unmapped",
    file: "src/block-memory.ts",
    find: "mapped.close();\n    this.#unmap(mapped, mapped.sizeBytes);",
    replace: "this.#unmap(mapped, mapped.sizeBytes);",
    tests: ["semantics/mapping"],
  },
  {
    name: "a block size below the smallest accepted",
    file: "src/options.ts",
    find: "!isPowerOfTwo(blockSize) || blockSize < SMALLEST_BLOCK_BYTES ||",
    replace: "!isPowerOfTwo(blockSize) ||",
    tests: ["semantics/construction"],
  },
  {
    name: "a function called after the release of its code",
    file: "src/function.ts",
    find: "const enter = (surplus: unknown): void => {\n    if (code.isReleased) throw",
    replace: "const enter = (surplus: unknown): void => {\n    if (code.rx === 0) throw",
    tests: ["function/"],
  },

  // --- the system ---
  {
    name: "code mapped writable",
    file: "src/vm/linux/dual-mapping.ts",
    find: "this.#mapView(rx, sizeBytes, Protection.READ | Protection.EXEC, descriptor);",
    replace:
      "this.#mapView(rx, sizeBytes, Protection.READ | Protection.WRITE | Protection.EXEC, descriptor);",
    tests: ["process/", "vm/linux-real"],
  },
  {
    name: "the memfd not sealed",
    file: "src/vm/linux/dual-mapping.ts",
    find: "if (step.sealable) this.#seal(descriptor);",
    replace: "",
    tests: ["vm/linux-real", "security/"],
  },
  {
    name: "the memfd left open",
    file: "src/vm/linux/dual-mapping.ts",
    find: "// The views hold the file. Without a descriptor nobody can map it a third time.\n      libc.close(descriptor);",
    replace: "",
    tests: ["process/", "vm/linux-real"],
  },
];
