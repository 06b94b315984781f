/** The instruction sets of x86-64 that filters are compiled for. */
import { Code, Register } from "iced-x86";
import { compactionTable } from "./constant-pool.ts";
import type { Memory } from "./x64-assembler.ts";
import { avx2Shape, avx512Shape, sse2Shape } from "./x64-codes.ts";
import { masks, numbered, xmm, ymm } from "./x64-registers.ts";
import type { X64Set } from "./x64-set.ts";
import { inPool, Role } from "./x64-set.ts";
import { VECTOR_REGISTERS } from "./x64-step.ts";

const { row, row32, scratch, scratch32, secondScratch32: next32, count32 } = Role;

/** Where the next selected row goes. */
const NEXT_SELECTED: Memory = { base: Role.selection, index: Role.count, scale: 4, displacement: 0 };

function rowNumbers(lanes: number): Uint8Array {
  return new Uint8Array(Int32Array.from({ length: lanes }, (_, lane) => lane).buffer);
}

/** Two numbers at a time, without fused arithmetic: every processor has it. */
export const sse2: X64Set = {
  name: "SSE2",
  lanes: 2,
  shape: sse2Shape,
  abilities: { fused: false, truncates: false, selectsBySign: false },
  files: { vectors: VECTOR_REGISTERS },
  begin: () => undefined,
  testMask(mask, { assembler }) {
    assembler.emit(Code.Movmskpd_r32_xmm, scratch32, numbered(xmm, mask));
    assembler.emit(Code.Test_rm32_r32, scratch32, scratch32);
  },
  // Both rows are written. One that does not pass is written over by the next.
  select(mask, { assembler }) {
    assembler.emit(Code.Movmskpd_r32_xmm, scratch32, numbered(xmm, mask));
    assembler.emit(Code.Mov_rm32_r32, NEXT_SELECTED, row32);
    assembler.emit(Code.Mov_r32_rm32, next32, scratch32);
    assembler.emit(Code.And_rm32_imm8, next32, { immediate: 1 });
    assembler.emit(Code.Add_r32_rm32, count32, next32);
    assembler.emit(Code.Lea_r32_m, next32, { base: row, displacement: 1 });
    assembler.emit(Code.Mov_rm32_r32, NEXT_SELECTED, next32);
    assembler.emit(Code.Shr_rm32_imm8, scratch32, { immediate: 1 });
    assembler.emit(Code.Add_r32_rm32, count32, scratch32);
  },
  end: () => undefined,
};

/** In the sets with longer vectors: the numbers of the rows at hand, and those that were moved to the front. */
const [rows128, packed128] = [Register.XMM15, Register.XMM14];
const [rows256, packed256] = [Register.YMM15, Register.YMM14];

const shuffles = compactionTable(4);

/** Four numbers at a time, with fused arithmetic. */
export const avx2: X64Set = {
  name: "AVX2",
  lanes: 4,
  shape: avx2Shape,
  abilities: { fused: true, truncates: true, selectsBySign: true },
  files: { vectors: VECTOR_REGISTERS },
  begin({ assembler, pool }) {
    const lanes = inPool(pool.append(rowNumbers(4)));
    assembler.emit(Code.VEX_Vmovd_xmm_rm32, rows128, row32);
    assembler.emit(Code.VEX_Vpbroadcastd_xmm_xmmm32, rows128, rows128);
    assembler.emit(Code.VEX_Vpaddd_xmm_xmm_xmmm128, rows128, rows128, lanes);
  },
  testMask(mask, { assembler }) {
    assembler.emit(Code.VEX_Vtestpd_ymm_ymmm256, numbered(ymm, mask), numbered(ymm, mask));
  },
  select(mask, { assembler, pool }) {
    assembler.emit(Code.VEX_Vmovmskpd_r32_ymm, scratch32, numbered(ymm, mask));
    // Each mask of four bits has a shuffle of 16 bytes that moves the numbers of its rows to the front.
    const shuffle: Memory = { base: Role.pool, index: scratch, displacement: pool.append(shuffles) };
    assembler.emit(Code.Shl_rm32_imm8, scratch32, { immediate: 4 });
    assembler.emit(Code.VEX_Vpshufb_xmm_xmm_xmmm128, packed128, rows128, shuffle);
    assembler.emit(Code.VEX_Vmovdqu_xmmm128_xmm, NEXT_SELECTED, packed128);
    assembler.emit(Code.Popcnt_r32_rm32, scratch32, scratch32);
    assembler.emit(Code.Add_r32_rm32, count32, scratch32);
    assembler.emit(Code.VEX_Vpaddd_xmm_xmm_xmmm128, rows128, rows128, inPool(pool.bits(0x4_0000_0004n)));
  },
  end: ({ assembler }) => assembler.emit(Code.VEX_Vzeroupper),
};

/** Eight numbers at a time, masks of a bit for each, and an instruction that moves what they select to the front. */
export const avx512: X64Set = {
  name: "AVX-512",
  lanes: 8,
  shape: avx512Shape,
  abilities: { fused: true, truncates: true, selectsBySign: true },
  files: { vectors: VECTOR_REGISTERS, masks: [1, 2, 3, 4, 5, 6, 7] },
  begin({ assembler, pool }) {
    const lanes = inPool(pool.append(rowNumbers(8)));
    assembler.emit(Code.EVEX_Vpbroadcastd_ymm_k1z_r32, rows256, row32);
    assembler.emit(Code.VEX_Vpaddd_ymm_ymm_ymmm256, rows256, rows256, lanes);
  },
  testMask(mask, { assembler }) {
    assembler.emit(Code.VEX_Kortestb_kr_kr, numbered(masks, mask), numbered(masks, mask));
  },
  select(mask, { assembler, pool }) {
    const rowMask = numbered(masks, mask);
    // By way of a register: some processors take a hundred times as long to compress into memory.
    const compress = Code.EVEX_Vpcompressd_ymmm256_k1z_ymm;
    assembler.emitMasked({ mask: rowMask, zeroing: true }, compress, packed256, rows256);
    assembler.emit(Code.VEX_Vmovdqu_ymmm256_ymm, NEXT_SELECTED, packed256);
    assembler.emit(Code.VEX_Kmovb_r32_kr, scratch32, rowMask);
    assembler.emit(Code.Popcnt_r32_rm32, scratch32, scratch32);
    assembler.emit(Code.Add_r32_rm32, count32, scratch32);
    assembler.emit(Code.VEX_Vpaddd_ymm_ymm_ymmm256, rows256, rows256, inPool(pool.bits(0x8_0000_0008n)));
  },
  end: ({ assembler }) => assembler.emit(Code.VEX_Vzeroupper),
};
