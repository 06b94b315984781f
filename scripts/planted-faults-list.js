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
    find: "words[stop] = words[stop]! | (1 << (last & 31));",
    replace: "",
    tests: ["semantics/release"],
  },
  {
    name: "a stop bit forgotten in a hole over several words",
    file: "src/core/granules.ts",
    find: "words[end] = words[end]! | (1 << ((bit + count - 1) & 31));",
    replace: "",
    tests: ["core/run-index", "semantics/allocation"],
  },
  {
    name: "a stop bit left by a release over several words",
    file: "src/core/granules.ts",
    find: "words[lastRecord + Word.stop] = words[lastRecord + Word.stop]! & ~(1 << (last & 31));",
    replace: "",
    tests: ["semantics/release"],
  },
  {
    name: "a length over several words off by one",
    file: "src/core/granules.ts",
    find: "if (words[r] !== 0) return length + lowestBit(words[r]!) + 1;",
    replace: "if (words[r] !== 0) return length + lowestBit(words[r]!);",
    tests: ["semantics/query"],
  },
  {
    name: "one granule too few freed in the last word",
    file: "src/core/granules.ts",
    find: "words[lastRecord] = words[lastRecord]! | (-1 >>> (31 - (last & 31)));",
    replace: "words[lastRecord] = words[lastRecord]! | (0x7fffffff >>> (31 - (last & 31)));",
    tests: ["semantics/release"],
  },
  {
    name: "an entry of the index that is no longer true believed",
    file: "src/core/holes.ts",
    find: "if (classOfRun(length) !== c) continue;",
    replace: "",
    tests: ["core/run-index"],
  },
  {
    name: "an interior address taken for a start",
    file: "src/core/core.ts",
    find: "if (granule << shift === offset && this.#beginsAt(block, granule)) return Status.ok;",
    replace: "if (this.#beginsAt(block, granule)) return Status.ok;",
    tests: ["semantics/release"],
  },
  {
    name: "the inside of an allocation taken for a start",
    file: "src/core/core.ts",
    find: "if (granule << shift === offset && this.#beginsAt(block, granule)) return Status.ok;",
    replace: "if (granule << shift === offset) return Status.ok;",
    tests: ["semantics/release"],
  },
  {
    name: "the padding taken for an allocation",
    file: "src/core/core.ts",
    find: "if (granule < words[block + Block.padding]! || granule >= words[block + Block.tail]!) {",
    replace: "if (granule >= words[block + Block.tail]!) {",
    tests: ["semantics/release"],
  },
  {
    name: "the untouched tail taken for an allocation",
    file: "src/core/core.ts",
    find: "if (granule < words[block + Block.padding]! || granule >= words[block + Block.tail]!) {",
    replace: "if (granule < words[block + Block.padding]!) {",
    tests: ["semantics/query"],
  },
  {
    name: "bits of the next word forgotten",
    file: "src/core/bits.ts",
    find: "return (word >>> bit) | ((following << 1) << (31 - bit));",
    replace: "return word >>> bit;",
    tests: ["core/bits"],
  },
  {
    name: "a block filled past its end",
    file: "src/core/core.ts",
    find: "if (end > words[block + Block.capacity]! || live === 0) return false;",
    replace: "if (end > words[block + Block.capacity]! + 1 || live === 0) return false;",
    tests: ["semantics/allocation"],
  },

  // --- generations ---
  {
    name: "a generation left in the ledger by a release",
    file: "src/core/generations.ts",
    find: "words[entry] = 0;",
    replace: "",
    tests: ["semantics/sharing", "threads/every"],
  },
  {
    name: "a generation given twice",
    file: "src/core/generations.ts",
    find: "(words[Header.generation]! + 1) | -0x8000_0000",
    replace: "words[Header.generation]! | -0x8000_0000",
    tests: ["semantics/sharing", "threads/"],
  },
  {
    name: "the generations of a block left by a reset",
    file: "src/core/store.ts",
    find: "if (generations !== 0) words.fill(0, generations, generations + capacity);",
    replace: "",
    tests: ["semantics/retention", "semantics/sharing"],
  },
  {
    name: "no mark left by a release through an address",
    file: "src/core/generations.ts",
    find: "} else if (!isOwn || (spans & Spans.watched) !== 0 || words[entry]! < 0) {",
    replace: "} else if ((spans & Spans.watched) !== 0 || words[entry]! < 0) {",
    tests: ["semantics/release"],
  },
  {
    name: "a second span of an allocation that nobody watches",
    file: "src/engine/span-identity.ts",
    find: "watchBlock(core.words, block);",
    replace: "",
    tests: ["semantics/release", "function/"],
  },
  {
    name: "a span that does not know that it was released",
    file: "src/engine/engine.ts",
    find: "!== Status.ok) return false;\n    endSpan(span);",
    replace: "!== Status.ok) return false;",
    tests: ["semantics/release"],
  },
  {
    name: "the spans of a block that was reset still live",
    file: "src/engine/engine.ts",
    find: "this.blocks.renew(mapped);",
    replace: "",
    tests: ["semantics/retention"],
  },

  // --- the index of free runs ---
  {
    name: "a class off by one",
    file: "src/core/classes.ts",
    find: "return classOfRun(length + (1 << (octave - 2)) - 1);",
    replace: "return classOfRun(length + (1 << (octave - 2)) - 1) + 1;",
    tests: ["core/classes"],
  },
  {
    name: "a freed run not joined with the one before it",
    file: "src/core/core.ts",
    find: "const ahead = Math.clz32(usedBefore);",
    replace: "const ahead = 0;",
    tests: ["core/run-index"],
  },
  {
    name: "a long run measured short",
    file: "src/core/free-runs.ts",
    find: "return (end << 5) - granule + trailingOnes(words[record]!);",
    replace: "return (end << 5) - granule;",
    tests: ["core/run-index", "semantics/allocation"],
  },
  {
    name: "a full bit left when a word is used",
    file: "src/core/full-words.ts",
    find: "words[index] = words[index]! & ~(1 << (word & 31));",
    replace: "",
    tests: ["semantics/"],
  },
  {
    name: "a summary of full bits left when a word is used",
    file: "src/core/full-words.ts",
    find: "words[summary] = words[summary]! & ~(1 << (group & 31));",
    replace: "",
    tests: ["semantics/"],
  },
  {
    name: "a release by address that the span does not learn of",
    file: "src/core/generations.ts",
    find: "spans | Spans.marked | (isOwn ? 0 : Spans.foreign)",
    replace: "spans | Spans.marked",
    tests: ["semantics/"],
  },
  {
    name: "a query's span taken for the one that alloc made",
    file: "src/engine/span.ts",
    find: "new Span(key, block, (granule << 1) | 1)",
    replace: "new Span(key, block, granule << 1)",
    tests: ["semantics/"],
  },
  {
    name: "a full bit set for a word that is not free",
    file: "src/core/full-words.ts",
    find: "if (words[records + (word << 1)] === -1) setFull(words, block, word);",
    replace: "setFull(words, block, word);",
    tests: ["semantics/"],
  },
  {
    name: "a dirty block not put in the queue",
    file: "src/core/run-index.ts",
    find: "if (words[block + Block.inDirty + Link.next] !== 0) return;",
    replace: "return;",
    tests: ["core/run-index"],
  },
  {
    name: "a run that begins with a whole word lost",
    file: "src/core/run-index.ts",
    find: "bit + trailingOnes(free >> bit)",
    replace: "bit + trailingOnes(free >>> bit)",
    tests: ["core/run-index"],
  },
  {
    name: "the tail that is left behind kept from the index",
    file: "src/core/run-index.ts",
    find: "if (count > 0) this.joinRun(before, tail, count);",
    replace: "",
    tests: ["core/run-index", "semantics/allocation"],
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
    file: "src/engine/engine.ts",
    find: "!this.#identity.hasRoom(mapped, granule, offset + length)",
    replace: "!this.#identity.hasRoom(mapped, granule, offset + length - 1)",
    tests: ["semantics/write"],
  },
  {
    name: "a shrink to more than there is",
    file: "src/engine/engine.ts",
    find: "if (!isIndex(newSize) || newSize > size)",
    replace: "if (!isIndex(newSize))",
    tests: ["semantics/release"],
  },
  {
    name: "the span of another allocator accepted",
    file: "src/engine/engine.ts",
    find: "if (!isOurs) throw refusals.refuseStranger(action, rxOf(span));",
    replace: "",
    tests: ["semantics/release"],
  },
  {
    name: "a released span accepted",
    file: "src/engine/engine.ts",
    find: "if (!this.isLive(span)) throw refusals.refuseReleased(action, rxOf(span));",
    replace: "",
    tests: ["semantics/release"],
  },
  {
    name: "a span not looked at again behind a callback",
    file: "src/engine/engine.ts",
    find: 'const mapped = this.#liveBlock(span, "write"); // the callback may have released the span, or shrunk it',
    replace: "const mapped = spanAccess.block(span);",
    tests: ["semantics/write"],
  },
  {
    name: "released code not overwritten",
    file: "src/engine/engine.ts",
    find: "this.blocks.fill(mapped, granule << mapped.granuleShift, length);",
    replace: "",
    tests: ["semantics/fill"],
  },
  {
    name: "code not overwritten by a reset",
    file: "src/engine/engine.ts",
    find: "if (this.#fills) this.blocks.fill(mapped, 0, mapped.sizeBytes);",
    replace: "",
    tests: ["semantics/fill", "semantics/retention"],
  },
  {
    name: "a block left mapped when there is no room for its records",
    file: "src/engine/block-memory.ts",
    find: "mapped.close();\n      this.#unmap(mapping, sizeBytes);\n      for",
    replace: "mapped.close();\n      for",
    tests: ["faults/"],
  },
  {
    name: "empty blocks that gave way not put back",
    file: "src/engine/block-memory.ts",
    find: "gone.push({",
    replace: "[].push({",
    tests: ["faults/"],
  },
  {
    name: "a view still open when its block is unmapped",
    file: "src/engine/block-memory.ts",
    find: "mapped.close();\n    this.#register?.markLeaving(mapped.entry);",
    replace: "this.#register?.markLeaving(mapped.entry);",
    tests: ["semantics/mapping"],
  },
  {
    name: "a block size below the smallest accepted",
    file: "src/engine/options.ts",
    find: "!isPowerOfTwo(blockSize) || blockSize < SMALLEST_BLOCK_BYTES ||",
    replace: "!isPowerOfTwo(blockSize) ||",
    tests: ["semantics/construction"],
  },
  {
    name: "a function called after the release of its code",
    file: "src/api/function.ts",
    find: "if (!owner.isLive(code)) throw",
    replace: "if (code.rx === 0) throw",
    tests: ["function/"],
  },

  {
    name: "what only looks like bytes is asked what it is",
    file: "src/engine/engine.ts",
    find: "if (!isUint8Array(bytes))",
    replace: "if (!(bytes instanceof Uint8Array))",
    tests: ["misuse/own-code"],
  },
  {
    name: "an allocator that a write callback shared is written to without the lock",
    file: "src/engine/write-scope.ts",
    find: "  const code = owner().copyToWrite(span);",
    replace: "  const first = owner();\n  owner = () => first;\n  const code = first.copyToWrite(span);",
    tests: ["misuse/own-code"],
  },
  {
    name: "what a write callback wrote is not made safe to run",
    file: "src/engine/engine.ts",
    find: 'if (policy !== "never") this.blocks.flush(mapped, start, length);\n    if (kept',
    replace: 'if (policy === "flush") this.blocks.flush(mapped, start, length);\n    if (kept',
    tests: ["misuse/own-code"],
  },
  {
    name: "an operation begins without room on the stack",
    file: "src/base/stack.ts",
    find: "const PARAMETERS = 512;",
    replace: "const PARAMETERS = 1;",
    tests: ["limits/stack"],
  },
  {
    name: "who has a span of a token can make spans",
    file: "src/engine/span.ts",
    find: '    Object.defineProperty(this.prototype, "constructor", { value: Span });',
    replace: "",
    tests: ["misuse/own-code"],
  },

  // --- the system ---
  {
    name: "a mapping placed over what somebody else has mapped",
    file: "src/vm/linux/reserve.ts",
    find: "MapFlag.PRIVATE | MapFlag.NORESERVE |",
    replace: "MapFlag.PRIVATE | MapFlag.NORESERVE | (hint === 0 ? 0 : MapFlag.FIXED) |",
    tests: ["vm/linux-placement"],
  },
  {
    name: "code mapped writable",
    file: "src/vm/linux/dual-mapping.ts",
    find: "this.#mapView(rx, sizeBytes, Protection.READ | Protection.EXEC, descriptor, isReserved);",
    replace:
      "this.#mapView(rx, sizeBytes, Protection.READ | Protection.WRITE | Protection.EXEC, descriptor, isReserved);",
    tests: ["process/", "vm/linux-real"],
  },
  {
    name: "the writable view left where the other one finds its place taken",
    file: "src/vm/linux/dual-mapping.ts",
    find: "if (!isReserved) libc.munmap(rw, sizeBytes);",
    replace: "",
    tests: ["vm/linux-faults", "vm/linux-placement"],
  },
  {
    name: "a view elsewhere taken for one where it was asked for",
    file: "src/vm/linux/dual-mapping.ts",
    find: "if (mapped === address) return;",
    replace: "if (mapped !== MAP_FAILED) return;",
    tests: ["vm/linux-placement"],
  },
  {
    name: "a full folder is a missing feature",
    file: "src/vm/linux/refused.ts",
    find: 'if (refusals.some(isFull)) return "ERR_OUT_OF_MEMORY";',
    replace: "",
    tests: ["vm/linux-refusals"],
  },
  {
    name: "a file that could never have a name has one",
    file: "src/vm/linux/ladder.ts",
    find: "if (nameless >= 0) return nameless;",
    replace: "if (nameless >= 0) libc.close(nameless);",
    tests: ["vm/linux-ladder", "vm/linux-real"],
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
  // --- calls ---
  {
    name: "the paths of libraries in memory are not unique",
    file: "src/ffi/memory-file.ts",
    find: "return load(`/proc/self/fd${spelling(inode)}${descriptor}`);",
    replace: "return load(`/proc/self/fd${spelling(inode & 0n)}${descriptor}`);",
    tests: ["ffi/fast-calls"],
  },
  {
    name: "a library is taken for right whatever its symbols lead to",
    file: "src/ffi/memory-file.ts",
    find: "return symbols.every(({ name, address }) => Number(look(handle, cString(name))) === address);",
    replace: "return symbols.every(({ name }) => Number(look(handle, cString(name))) !== 0);",
    tests: ["ffi/symbol-identity"],
  },
  {
    name: "narrow integers travel as they are on Deno",
    file: "src/ffi/deno.ts",
    find: "parameters: parameters.map((type) => WIDENED[type] ?? DENO_TYPES[type]),",
    replace: "parameters: parameters.map((type) => DENO_TYPES[type]),",
    tests: ["ffi/deno"],
  },
  // --- who lives ---
  {
    name: "a thread whose mutex the kernel has marked counts as alive",
    file: "src/vm/linux/thread-mark.ts",
    find: "return errno === Errno.EAGAIN ? false : undefined;",
    replace: "return errno === Errno.EAGAIN ? true : undefined;",
    tests: ["vm/thread-mark"],
  },
  {
    name: "a thread is known by its number alone, which a later one may have",
    file: "src/vm/linux/sharing.ts",
    find: "return !isThere && this.#libc.errno() === Errno.ESRCH ? false : undefined;",
    replace: "return isThere;",
    tests: ["vm/thread-mark"],
  },
  {
    name: "two names of one thread are the same",
    file: "src/base/unique.ts",
    find: "shared[COUNTER] = count;",
    replace: "shared[COUNTER] = 0;",
    tests: ["base/unique"],
  },
  // --- the lock ---
  {
    name: "the lock is free for anybody although somebody has waited in vain",
    file: "src/sharing/lock.ts",
    find: "const next = heir === 0 ? 0 : heir | (value & WAITERS);",
    replace: "const next = heir < 0 ? heir : 0;",
    tests: ["sharing/lock"],
  },
  {
    name: "a heir that died is taken for one that has nothing to do with the lock",
    file: "src/sharing/lock.ts",
    find: "return (value & MEMBER) === member || heirOf(value) === member;",
    replace: "return (value & MEMBER) === member;",
    tests: ["sharing/lock"],
  },
  // --- who gives which generations ---
  {
    name: "a batch that a member has begun is given to another",
    file: "src/sharing/batches.ts",
    find: "if (isBegun(last)) used[batchOf(last)] = 1;",
    replace: "if (last === undefined) used[batchOf(last)] = 1;",
    tests: ["sharing/batches"],
  },
  {
    name: "who gets a number does not go on with its batch",
    file: "src/sharing/batches.ts",
    find: "return isBegun(last) && this.ownerOf(last) === member ? last : 0;",
    replace: "return isBegun(last) && this.ownerOf(last) !== member ? last : 0;",
    tests: ["sharing/batches", "sharing/succession"],
  },
];
