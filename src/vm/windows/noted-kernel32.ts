/**
 * kernel32 with a journal: while the noter has a journal, each call that maps, unmaps, opens or closes something is
 * noted.
 */
import type { Address } from "../../ffi/contract.ts";
import { Call } from "../journal.ts";
import { Noter } from "../noter.ts";
import type { Handle, Kernel32 } from "./kernel32.ts";

const mapping = { call: Call.map, failure: 0, isWide: true };
const unmapping = { call: Call.unmap, failure: 0, isWide: false };

/** The functions that are noted. */
const NOTED = {
  VirtualAlloc: mapping,
  MapViewOfFile: mapping,
  VirtualFree: unmapping,
  UnmapViewOfFile: unmapping,
  CreateFileMappingW: { call: Call.open, failure: 0, isWide: true },
  CloseHandle: { call: Call.close, failure: 0, isWide: false },
};

/** A {@link Kernel32} that notes its calls while its noter has a journal. */
export interface NotedKernel32 extends Kernel32 {
  readonly noter: Noter<keyof typeof NOTED>;
}

/** Wraps the functions of kernel32 so that they are noted. */
export function notedKernel32(kernel32: Kernel32): NotedKernel32 {
  const noter = new Noter(NOTED);
  /** The size of the held range at `address`: calls that unmap a mapping on Windows do not name its size. */
  const sizeAt = (address: Address): number =>
    noter.journal?.heldRanges().find((range) => range.address === address)?.sizeBytes ?? 0;
  return {
    noter,
    GetLastError: () => kernel32.GetLastError(),
    GetSystemInfo: (result) => kernel32.GetSystemInfo(result),
    GetLargePageMinimum: () => kernel32.GetLargePageMinimum(),
    GetCurrentProcess: () => kernel32.GetCurrentProcess(),
    VirtualAlloc: (address, sizeBytes, type, protection) =>
      noter.call(
        "VirtualAlloc",
        0,
        sizeBytes,
        (routine, target, result) => routine.call(result, target, address, sizeBytes, type, protection, 0, 0),
        () => kernel32.VirtualAlloc(address, sizeBytes, type, protection),
      ),
    VirtualFree: (address, sizeBytes, type) =>
      noter.call(
        "VirtualFree",
        address,
        sizeAt(address),
        (routine, target, result) => routine.call(result, target, address, sizeBytes, type, 0, 0, 0),
        () => kernel32.VirtualFree(address, sizeBytes, type),
      ),
    VirtualProtect: (address, sizeBytes, protection, previous) =>
      kernel32.VirtualProtect(address, sizeBytes, protection, previous),
    VirtualQuery: (address, result, resultBytes) => kernel32.VirtualQuery(address, result, resultBytes),
    CreateFileMappingW: (file, attributes, protection, sizeHigh, sizeLow, name) =>
      noter.call(
        "CreateFileMappingW",
        0,
        0,
        (routine, target, result) =>
          routine.call(result, target, file, attributes, protection, sizeHigh, sizeLow, name),
        () => kernel32.CreateFileMappingW(file, attributes, protection, sizeHigh, sizeLow, name),
      ),
    MapViewOfFile: (section, access, offsetHigh, offsetLow, sizeBytes) =>
      noter.call(
        "MapViewOfFile",
        0,
        sizeBytes,
        (routine, target, result) =>
          routine.call(result, target, section, access, offsetHigh, offsetLow, sizeBytes, 0),
        () => kernel32.MapViewOfFile(section, access, offsetHigh, offsetLow, sizeBytes),
      ),
    UnmapViewOfFile: (address) =>
      noter.call(
        "UnmapViewOfFile",
        address,
        sizeAt(address),
        (routine, target, result) => routine.call(result, target, address, 0, 0, 0, 0, 0),
        () => kernel32.UnmapViewOfFile(address),
      ),
    CloseHandle: (handle: Handle) =>
      noter.call(
        "CloseHandle",
        handle,
        0,
        (routine, target, result) => routine.call(result, target, handle, 0, 0, 0, 0, 0),
        () => kernel32.CloseHandle(handle),
      ),
    FlushInstructionCache: (process, address, sizeBytes) =>
      kernel32.FlushInstructionCache(process, address, sizeBytes),
    prepare: () => kernel32.prepare(),
    moveIn: (address, bytes, sizeBytes) => kernel32.moveIn(address, bytes, sizeBytes),
    moveOut: (bytes, address, sizeBytes) => kernel32.moveOut(bytes, address, sizeBytes),
    GetCurrentThreadId: () => kernel32.GetCurrentThreadId(),
    OpenThread: (access, isInherited, threadId) => kernel32.OpenThread(access, isInherited, threadId),
    GetThreadTimes: (thread, creation, exit, kernel, user) =>
      kernel32.GetThreadTimes(thread, creation, exit, kernel, user),
    WaitForSingleObject: (handle, timeoutMs) => kernel32.WaitForSingleObject(handle, timeoutMs),
  };
}
