/** The registers of iced-x86 by their numbers. */
import { Register } from "iced-x86";

/** Registers of one kind, in the order of their numbers. */
export type RegisterList = readonly Register[];

export const xmm: RegisterList = [
  Register.XMM0,
  Register.XMM1,
  Register.XMM2,
  Register.XMM3,
  Register.XMM4,
  Register.XMM5,
  Register.XMM6,
  Register.XMM7,
  Register.XMM8,
  Register.XMM9,
  Register.XMM10,
  Register.XMM11,
  Register.XMM12,
  Register.XMM13,
  Register.XMM14,
  Register.XMM15,
];

export const ymm: RegisterList = [
  Register.YMM0,
  Register.YMM1,
  Register.YMM2,
  Register.YMM3,
  Register.YMM4,
  Register.YMM5,
  Register.YMM6,
  Register.YMM7,
  Register.YMM8,
  Register.YMM9,
  Register.YMM10,
  Register.YMM11,
  Register.YMM12,
  Register.YMM13,
  Register.YMM14,
  Register.YMM15,
];

export const zmm: RegisterList = [
  Register.ZMM0,
  Register.ZMM1,
  Register.ZMM2,
  Register.ZMM3,
  Register.ZMM4,
  Register.ZMM5,
  Register.ZMM6,
  Register.ZMM7,
  Register.ZMM8,
  Register.ZMM9,
  Register.ZMM10,
  Register.ZMM11,
  Register.ZMM12,
  Register.ZMM13,
  Register.ZMM14,
  Register.ZMM15,
];

/** The masks of AVX-512. k0 selects every lane wherever an instruction takes a mask. */
export const masks: RegisterList = [
  Register.K0,
  Register.K1,
  Register.K2,
  Register.K3,
  Register.K4,
  Register.K5,
  Register.K6,
  Register.K7,
];

export function numbered(list: RegisterList, number: number): Register {
  const register = list[number];
  if (register === undefined) throw new RangeError(`There is no register ${number}`);
  return register;
}
