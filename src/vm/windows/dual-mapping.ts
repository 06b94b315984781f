/**
 * Two views of one section, which is memory backed by the page file. Windows never gives a view an access that it was not
 * mapped for: the executable view can never be made writable, nor the writable one executable.
 */
import { formatAddress } from "../../base/errors.ts";
import type { Address } from "../../ffi/contract.ts";
import type { DualMapping } from "../contract.ts";
import { FileMap, NO_FILE, Page, Section } from "./kernel32.ts";
import type { Handle, Kernel32 } from "./kernel32.ts";
import { lastError } from "./last-error.ts";
import { checkWhole, mappedSize } from "./regions.ts";

const TWO_TO_32 = 2 ** 32;

/**
 * Maps both views.
 *
 * @param largePages maps large pages; `sizeBytes` is a multiple of their size.
 * @throws JitError; nothing is mapped and no handle open then.
 */
export function mapTwice(kernel32: Kernel32, sizeBytes: number, largePages: boolean): DualMapping {
  const asked = `map ${sizeBytes} bytes twice, executable and writable`;
  const backing = Section.COMMIT + (largePages ? Section.LARGE_PAGES : 0);
  const section = kernel32.CreateFileMappingW(
    NO_FILE,
    0,
    Page.EXECUTE_READWRITE + backing,
    Math.floor(sizeBytes / TWO_TO_32),
    sizeBytes % TWO_TO_32,
    0,
  );
  if (section === 0) throw lastError(kernel32, asked, "CreateFileMappingW");
  try {
    return mapViews(kernel32, section, sizeBytes, largePages, asked);
  } finally {
    // The views hold the section. The result is ignored: closing an open handle cannot fail.
    kernel32.CloseHandle(section);
  }
}

function mapViews(
  kernel32: Kernel32,
  section: Handle,
  sizeBytes: number,
  largePages: boolean,
  asked: string,
): DualMapping {
  const map = (access: number): number =>
    kernel32.MapViewOfFile(section, access + (largePages ? FileMap.LARGE_PAGES : 0), 0, 0, sizeBytes);
  const rw = map(FileMap.READ + FileMap.WRITE);
  if (rw === 0) throw lastError(kernel32, asked, "MapViewOfFile");
  try {
    const rx = map(FileMap.READ + FileMap.EXECUTE);
    if (rx !== 0) return { rx, rw };
    throw lastError(kernel32, asked, "MapViewOfFile");
  } catch (error) {
    kernel32.UnmapViewOfFile(rw);
    throw error;
  }
}

/**
 * Gives a dual mapping back, view by view: Windows has no call that unmaps two. Where Windows refuses the second view,
 * the first is already gone. The next try finds that out by asking the system, because in a shared allocator another
 * thread may make it; that try goes on with the second view.
 *
 * @throws JitError; then nothing is unmapped, or the executable view alone
 */
export function unmapTwice(kernel32: Kernel32, { rx, rw }: DualMapping, sizeBytes: number): void {
  const describe = (address: Address): string =>
    `unmap the view of ${sizeBytes} bytes at ${formatAddress(address)}`;
  const unmap = (address: Address): void => {
    if (kernel32.UnmapViewOfFile(address) !== 0) return;
    throw lastError(kernel32, describe(address), "UnmapViewOfFile");
  };
  const executableBytes = mappedSize(kernel32, rx, describe(rx));
  checkWhole(mappedSize(kernel32, rw, describe(rw)), sizeBytes, describe(rw));
  if (executableBytes !== 0) {
    checkWhole(executableBytes, sizeBytes, describe(rx));
    unmap(rx);
  }
  unmap(rw);
}
