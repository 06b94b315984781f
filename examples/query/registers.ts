/** Gives every value of vector code a register, and a place in the frame while there are more values than registers. */
import type { Operation, Value, VectorCode } from "./vector-code.ts";
import { isMask, operandsOf } from "./vector-code.ts";

/** Where an operand is: constants stay in memory, and the generator fetches them as its processor can. */
export type Source =
  | { readonly kind: "register"; readonly register: number }
  | { readonly kind: "constant"; readonly value: number };

/** What the generator turns into instructions, in this order. The target is never one of the sources. */
export type Step =
  | {
      readonly kind: "operation";
      readonly operation: Operation;
      readonly target: number;
      readonly sources: readonly Source[];
    }
  /** To a slot of the frame, and back from it. */
  | {
      readonly kind: "spill" | "reload";
      readonly isMask: boolean;
      readonly register: number;
      readonly slot: number;
    };

export interface Allocated {
  readonly steps: readonly Step[];
  /** How many places the frame needs; each holds a vector. */
  readonly slotCount: number;
  /** The register of the mask of rows that pass. */
  readonly result: number;
  /** The register of the mask of rows that plain JavaScript has to look at. */
  readonly doubtful: number | undefined;
}

/** The numbers of the registers to use. Processors without registers for masks keep masks among the vectors. */
export interface RegisterFiles {
  readonly vectors: readonly number[];
  readonly masks?: readonly number[];
}

/** Where the values of one kind of register are. */
class RegisterFile {
  readonly free: number[];
  readonly held = new Map<Value, number>();
  readonly isMask: boolean;

  constructor(registers: readonly number[], isMask: boolean) {
    this.free = [...registers];
    this.isMask = isMask;
  }
}

class Allocation {
  readonly steps: Step[] = [];
  readonly slots = new Map<Value, number>();
  readonly #operations: readonly Operation[];
  /** The lines that use a value, in ascending order. */
  readonly #uses: readonly Value[][];
  readonly #vectors: RegisterFile;
  readonly #masks: RegisterFile;

  constructor(code: VectorCode, files: RegisterFiles) {
    this.#operations = code.operations;
    this.#uses = usesOf(code);
    this.#vectors = new RegisterFile(files.vectors, false);
    this.#masks = files.masks === undefined ? this.#vectors : new RegisterFile(files.masks, true);
  }

  run(): void {
    for (const [line, operation] of this.#operations.entries()) {
      if (operation.kind === "constant" || this.#nextUse(line, line) === undefined) continue;
      const operands = operandsOf(operation);
      const sources = operands.map((operand) => this.source(operand, line, operands));
      const file = this.#fileOf(line);
      const target = this.#take(file, line, operands);
      file.held.set(line, target);
      this.steps.push({ kind: "operation", operation, target, sources });
      for (const operand of operands) this.#releaseAfter(operand, line);
    }
  }

  /** Where the value is for the line to use it; comes back into a register if need be. */
  source(value: Value, line: number, needed: readonly Value[]): Source {
    const operation = this.#operations[value];
    if (operation?.kind === "constant") return { kind: "constant", value: operation.value };
    return { kind: "register", register: this.register(value, line, needed) };
  }

  register(value: Value, line: number, needed: readonly Value[]): number {
    const file = this.#fileOf(value);
    const held = file.held.get(value);
    if (held !== undefined) return held;
    const slot = this.slots.get(value);
    if (slot === undefined) throw new RangeError(`Value ${value} is used before it is made`);
    const register = this.#take(file, line, needed);
    file.held.set(value, register);
    this.steps.push({ kind: "reload", isMask: file.isMask, register, slot });
    return register;
  }

  #fileOf(value: Value): RegisterFile {
    const operation = this.#operations[value];
    return operation !== undefined && isMask(operation) ? this.#masks : this.#vectors;
  }

  #nextUse(value: Value, line: number): number | undefined {
    return this.#uses[value]?.find((use) => use > line);
  }

  /** A free register. If there is none, the value that is needed last of all leaves its own. */
  #take(file: RegisterFile, line: number, needed: readonly Value[]): number {
    const free = file.free.shift();
    if (free !== undefined) return free;
    let leaving: { value: Value; register: number; use: number } | undefined;
    for (const [value, register] of file.held) {
      if (needed.includes(value)) continue;
      const use = this.#nextUse(value, line - 1) ?? Infinity;
      if (leaving === undefined || use > leaving.use) leaving = { value, register, use };
    }
    if (leaving === undefined) throw new RangeError("There are too few registers for one operation");
    file.held.delete(leaving.value);
    if (!this.slots.has(leaving.value)) {
      const slot = this.slots.size;
      this.slots.set(leaving.value, slot);
      this.steps.push({ kind: "spill", isMask: file.isMask, register: leaving.register, slot });
    }
    return leaving.register;
  }

  #releaseAfter(value: Value, line: number): void {
    const file = this.#fileOf(value);
    const register = file.held.get(value);
    if (register === undefined || this.#nextUse(value, line) !== undefined) return;
    file.held.delete(value);
    file.free.push(register);
  }
}

/** Who uses each value. What nothing uses has no part in what its operands are used for. */
function usesOf({ operations, result, doubtful }: VectorCode): readonly Value[][] {
  const uses: Value[][] = operations.map(() => []);
  for (const value of [result, doubtful]) if (value !== undefined) uses[value]?.push(operations.length);
  for (let line = operations.length - 1; line >= 0; line--) {
    const operation = operations[line];
    if (operation === undefined || uses[line]?.length === 0) continue;
    for (const operand of operandsOf(operation)) uses[operand]?.unshift(line);
  }
  return uses;
}

export function allocateRegisters(code: VectorCode, files: RegisterFiles): Allocated {
  const allocation = new Allocation(code, files);
  allocation.run();
  const { result, doubtful, operations } = code;
  const needed = doubtful === undefined ? [result] : [result, doubtful];
  const resultRegister = allocation.register(result, operations.length, needed);
  return {
    result: resultRegister,
    doubtful: doubtful === undefined ? undefined : allocation.register(doubtful, operations.length, needed),
    steps: allocation.steps,
    slotCount: allocation.slots.size,
  };
}
