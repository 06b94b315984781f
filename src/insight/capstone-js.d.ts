/** The part of capstone that this library uses: the package has no types. */
declare module "@alexaltea/capstone-js" {
  interface Instruction {
    readonly address: bigint;
    readonly size: number;
    readonly mnemonic: string;
    readonly op_str: string;
  }
  interface Handle {
    disasm(bytes: Uint8Array, address: number): Instruction[];
    close(): void;
  }
  interface Capstone {
    readonly ARCH_X86: number;
    readonly ARCH_ARM64: number;
    readonly MODE_64: number;
    readonly MODE_ARM: number;
    readonly Capstone: new (architecture: number, mode: number) => Handle;
  }
  export default function load(): Promise<Capstone>;
}
