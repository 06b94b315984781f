/** The instructions on vectors by the names of iced-x86, for each instruction set. */
import { Code } from "iced-x86";
import type { RegisterList } from "./x64-registers.ts";
import { xmm, ymm, zmm } from "./x64-registers.ts";

/** How one instruction set differs from the others. */
export interface Shape {
  readonly vectorBytes: number;
  readonly registers: RegisterList;
  /** Instructions have a target of their own; else it is the first operand too. */
  readonly hasTarget: boolean;
  /** Masks are in registers of their own, k1 to k7; else they are vectors. */
  readonly hasMasks: boolean;
  readonly load: Code;
  readonly store: Code;
  readonly loadIntegers: Code;
  readonly add: Code;
  readonly subtract: Code;
  readonly multiply: Code;
  readonly divide: Code;
  readonly and: Code;
  readonly or: Code;
  readonly xor: Code;
  readonly compare: Code;
  /** Undefined where vector code has to do without. */
  readonly round: Code | undefined;
  readonly subtractProduct: Code | undefined;
  /** Target, a number, another, a third: the second where the third is negative, else the first. */
  readonly selectBySign: Code | undefined;
  /** Target and two numbers: the lesser, as integers without a sign, so that a negative number is the greater. */
  readonly leastUnsigned: Code | undefined;
}

export const sse2Shape: Shape = {
  vectorBytes: 16,
  registers: xmm,
  hasTarget: false,
  hasMasks: false,
  load: Code.Movupd_xmm_xmmm128,
  store: Code.Movupd_xmmm128_xmm,
  loadIntegers: Code.Cvtdq2pd_xmm_xmmm64,
  add: Code.Addpd_xmm_xmmm128,
  subtract: Code.Subpd_xmm_xmmm128,
  multiply: Code.Mulpd_xmm_xmmm128,
  divide: Code.Divpd_xmm_xmmm128,
  and: Code.Andpd_xmm_xmmm128,
  or: Code.Orpd_xmm_xmmm128,
  xor: Code.Xorpd_xmm_xmmm128,
  compare: Code.Cmppd_xmm_xmmm128_imm8,
  round: undefined,
  subtractProduct: undefined,
  selectBySign: undefined,
  leastUnsigned: undefined,
};

export const avx2Shape: Shape = {
  vectorBytes: 32,
  registers: ymm,
  hasTarget: true,
  hasMasks: false,
  load: Code.VEX_Vmovupd_ymm_ymmm256,
  store: Code.VEX_Vmovupd_ymmm256_ymm,
  loadIntegers: Code.VEX_Vcvtdq2pd_ymm_xmmm128,
  add: Code.VEX_Vaddpd_ymm_ymm_ymmm256,
  subtract: Code.VEX_Vsubpd_ymm_ymm_ymmm256,
  multiply: Code.VEX_Vmulpd_ymm_ymm_ymmm256,
  divide: Code.VEX_Vdivpd_ymm_ymm_ymmm256,
  and: Code.VEX_Vandpd_ymm_ymm_ymmm256,
  or: Code.VEX_Vorpd_ymm_ymm_ymmm256,
  xor: Code.VEX_Vxorpd_ymm_ymm_ymmm256,
  compare: Code.VEX_Vcmppd_ymm_ymm_ymmm256_imm8,
  round: Code.VEX_Vroundpd_ymm_ymmm256_imm8,
  subtractProduct: Code.VEX_Vfnmadd231pd_ymm_ymm_ymmm256,
  selectBySign: Code.VEX_Vblendvpd_ymm_ymm_ymmm256_ymm,
  leastUnsigned: undefined,
};

export const avx512Shape: Shape = {
  vectorBytes: 64,
  registers: zmm,
  hasTarget: true,
  hasMasks: true,
  load: Code.EVEX_Vmovupd_zmm_k1z_zmmm512,
  store: Code.EVEX_Vmovupd_zmmm512_k1z_zmm,
  loadIntegers: Code.EVEX_Vcvtdq2pd_zmm_k1z_ymmm256b32_er,
  add: Code.EVEX_Vaddpd_zmm_k1z_zmm_zmmm512b64_er,
  subtract: Code.EVEX_Vsubpd_zmm_k1z_zmm_zmmm512b64_er,
  multiply: Code.EVEX_Vmulpd_zmm_k1z_zmm_zmmm512b64_er,
  divide: Code.EVEX_Vdivpd_zmm_k1z_zmm_zmmm512b64_er,
  and: Code.EVEX_Vandpd_zmm_k1z_zmm_zmmm512b64,
  or: Code.EVEX_Vorpd_zmm_k1z_zmm_zmmm512b64,
  xor: Code.EVEX_Vxorpd_zmm_k1z_zmm_zmmm512b64,
  compare: Code.EVEX_Vcmppd_kr_k1_zmm_zmmm512b64_imm8_sae,
  round: Code.EVEX_Vrndscalepd_zmm_k1z_zmmm512b64_imm8_sae,
  subtractProduct: Code.EVEX_Vfnmadd231pd_zmm_k1z_zmm_zmmm512b64_er,
  selectBySign: undefined,
  leastUnsigned: Code.EVEX_Vpminuq_zmm_k1z_zmm_zmmm512b64,
};
