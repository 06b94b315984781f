/**
 * koffi's module: the part of it that this library uses, and how it is loaded.
 *
 * Its binary does without the JavaScript around it, which takes 4 of the 6 ms in which koffi loads: it looks for the
 * binary in four places, and adds functions that nobody here calls.
 * Where anything is otherwise than expected, koffi itself is loaded, which also knows what to say.
 */
import { isOfGlibc } from "../base/c-library.ts";
import { platform } from "../base/platform.ts";
import type { Address, NativeFunction } from "./contract.ts";
import { isBundled, requireModule } from "./require.ts";

/** A koffi type or prototype: opaque here. */
export type KoffiType = object;

export interface KoffiLibrary {
  func(name: string, result: string, parameters: readonly string[]): NativeFunction;
}

/** The part of koffi that this file uses. */
export interface KoffiModule {
  readonly version: string;
  /** null = the program itself. */
  load(this: void, path: string | null): KoffiLibrary;
  proto(this: void, result: string, parameters: readonly string[]): KoffiType;
  decode(this: void, address: Address, type: KoffiType): NativeFunction;
  pointer(this: void, type: KoffiType): KoffiType;
  register(this: void, call: NativeFunction, type: KoffiType): bigint;
  unregister(this: void, callback: bigint): void;
  view(this: void, address: Address, sizeBytes: number): ArrayBuffer;
  address(this: void, buffer: ArrayBuffer): bigint;
  errno(this: void): number;
}

/** The least version that is known to do what this library needs, of the only major version that is. */
const LEAST_VERSION = [3, 3, 4] as const;

/** Every function that this library calls. */
const FUNCTIONS = [
  "load",
  "proto",
  "decode",
  "pointer",
  "register",
  "unregister",
  "view",
  "address",
  "errno",
];

/**
 * Loads koffi, synchronously.
 *
 * @param load loads a module; tests pass their own.
 * @throws what koffi or Node throws where it is not found, or does not load
 */
export function requireKoffi(load: (name: string) => unknown = requireModule): KoffiModule {
  return koffiBinary(load) ?? (load("koffi") as KoffiModule);
}

/**
 * Loads koffi's binary for Linux with glibc from where npm and its kin put it beside this package.
 *
 * @returns undefined where it cannot be found, or may not be the right one. Never throws.
 */
export function koffiBinary(load: (name: string) => unknown): KoffiModule | undefined {
  const { system, processor } = platform;
  if (system !== "linux" || processor === "other" || isBundled()) return undefined;
  try {
    if (!isOfGlibc()) return undefined;
    const binary = load(`@koromix/koffi-linux-${processor}/linux_${processor}/koffi.node`);
    return isKnown(binary) ? binary : undefined;
  } catch {
    return undefined;
  }
}

function isKnown(binary: unknown): binary is KoffiModule {
  if (typeof binary !== "object" || binary === null) return false;
  const { version, ...others } = binary as Readonly<Record<string, unknown>>;
  return (
    typeof version === "string" &&
    isLateEnough(version) &&
    FUNCTIONS.every((name) => typeof others[name] === "function")
  );
}

function isLateEnough(version: string): boolean {
  const [major = 0, minor = 0, patch = 0] = version.split(".").map(Number);
  const [leastMajor, leastMinor, leastPatch] = LEAST_VERSION;
  return major === leastMajor && (minor > leastMinor || (minor === leastMinor && patch >= leastPatch));
}
