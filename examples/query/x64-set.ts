/** What the generators of x86-64 agree on. */
import { Register } from "iced-x86";
import type { ConstantPool } from "./constant-pool.ts";
import type { ColumnType } from "./expression.ts";
import type { RegisterFiles } from "./registers.ts";
import type { Abilities } from "./vector-code.ts";
import type { Memory, X64Assembler } from "./x64-assembler.ts";
import type { Shape } from "./x64-codes.ts";

/** Where the parts of a filter's code keep what they share, for as long as it runs. */
export const Role = {
  selection: Register.RDI,
  /** How many rows are selected. */
  count: Register.RSI,
  count32: Register.ESI,
  row: Register.RDX,
  row32: Register.EDX,
  /** The last row at which a whole vector still begins. */
  lastRow: Register.RCX,
  lastRow32: Register.ECX,
  pool: Register.R11,
  /** For whoever needs one. */
  scratch: Register.RAX,
  scratch32: Register.EAX,
  secondScratch32: Register.R10D,
} as const;

/** The register of a column's address, and what lies there. */
export interface ColumnPlace {
  readonly type: ColumnType;
  readonly register: Register;
}

/** What the parts of a filter's code are written with. */
export interface X64Output {
  readonly assembler: X64Assembler;
  readonly pool: ConstantPool;
  readonly columns: readonly ColumnPlace[];
}

/** One of the instruction sets. */
export interface X64Set {
  readonly name: string;
  readonly lanes: number;
  readonly shape: Shape;
  readonly abilities: Abilities;
  readonly files: RegisterFiles;
  /** Before the loop: what needs the number of the first row. */
  begin(output: X64Output): void;
  /** Sets the flags for `jnz`: whether the mask has a row. */
  testMask(mask: number, output: X64Output): void;
  /** Appends the numbers of the mask's rows to the selection, and makes ready for the next rows. */
  select(mask: number, output: X64Output): void;
  /** After the loop. */
  end(output: X64Output): void;
}

/** What lies in the pool at the offset. */
export function inPool(displacement: number): Memory {
  return { base: Role.pool, displacement };
}
