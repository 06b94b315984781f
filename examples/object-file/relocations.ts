/** What relocations of x86-64 do: the arithmetic of the AMD64 ABI, table 4.9. Knows no files and no memory. */

/** What is computed: S the symbol, A the addend, P the place, G the symbol's entry of the global offset table. */
export type Formula =
  /** S + A */
  | "absolute"
  /** S + A − P */
  | "relative"
  /** S + A − P, where S may be a stub that jumps to the symbol */
  | "call"
  /** G + A − P */
  | "table";

/** A type of relocation. */
export interface RelocationType {
  readonly name: string;
  readonly formula: Formula;
  readonly bytes: 4 | 8;
  /** What fits. */
  readonly least: number;
  readonly most: number;
}

const SIGNED = { bytes: 4, least: -(2 ** 31), most: 2 ** 31 - 1 } as const;
const UNSIGNED = { bytes: 4, least: 0, most: 2 ** 32 - 1 } as const;
const WHOLE = { bytes: 8, least: -(2 ** 63), most: 2 ** 64 } as const;

/** Those that compilers emit, by their numbers. */
const KNOWN: ReadonlyMap<number, RelocationType> = new Map([
  [1, { name: "R_X86_64_64", formula: "absolute", ...WHOLE }],
  [2, { name: "R_X86_64_PC32", formula: "relative", ...SIGNED }],
  [4, { name: "R_X86_64_PLT32", formula: "call", ...SIGNED }],
  [9, { name: "R_X86_64_GOTPCREL", formula: "table", ...SIGNED }],
  [10, { name: "R_X86_64_32", formula: "absolute", ...UNSIGNED }],
  [11, { name: "R_X86_64_32S", formula: "absolute", ...SIGNED }],
  [24, { name: "R_X86_64_PC64", formula: "relative", ...WHOLE }],
  // A linker may replace the load by the address itself, where that reaches. This one leaves the load.
  [41, { name: "R_X86_64_GOTPCRELX", formula: "table", ...SIGNED }],
  [42, { name: "R_X86_64_REX_GOTPCRELX", formula: "table", ...SIGNED }],
]);

/** R_X86_64_NONE: a mark that changes nothing. */
export const NO_RELOCATION = 0;

/** Those of thread-local variables. */
const THREAD_LOCAL: ReadonlyMap<number, string> = new Map([
  [16, "R_X86_64_DTPMOD64"],
  [17, "R_X86_64_DTPOFF64"],
  [18, "R_X86_64_TPOFF64"],
  [19, "R_X86_64_TLSGD"],
  [20, "R_X86_64_TLSLD"],
  [21, "R_X86_64_DTPOFF32"],
  [22, "R_X86_64_GOTTPOFF"],
  [23, "R_X86_64_TPOFF32"],
  [34, "R_X86_64_GOTPC32_TLSDESC"],
  [35, "R_X86_64_TLSDESC_CALL"],
  [36, "R_X86_64_TLSDESC"],
]);

/** The type of a relocation; undefined where {@link whyNot} says why there is none. */
export function relocationType(number: number): RelocationType | undefined {
  return KNOWN.get(number);
}

/** Why relocations of an unknown type cannot be done. */
export function whyNot(number: number): string {
  const threadLocal = THREAD_LOCAL.get(number);
  if (threadLocal !== undefined) {
    return (
      `${threadLocal} is of a thread-local variable: only the C library reserves memory for each thread. ` +
      "Compile it without __thread, or load it as a shared library"
    );
  }
  return `relocations of type ${number} are unknown to this linker. Compile it with -fPIC, in the small code model`;
}

/** Whether the value of a relocation fits its place. */
export function fits({ least, most }: RelocationType, value: number): boolean {
  return value >= least && value <= most;
}

/** Writes the value of a relocation, which fits. */
export function store(type: RelocationType, view: DataView, offset: number, value: number): void {
  if (type.bytes === 8) view.setBigUint64(offset, BigInt.asUintN(64, BigInt(value)), true);
  else view.setUint32(offset, value >>> 0, true);
}

/** `call`, `jmp` and `jcc`, which can reach what is far through a stub; a loaded address cannot. */
export function isBranch(code: Uint8Array, offset: number): boolean {
  const last = code[offset - 1] ?? 0;
  const isConditional = code[offset - 2] === 0x0f && last >= 0x80 && last <= 0x8f;
  return last === 0xe8 || last === 0xe9 || isConditional;
}
