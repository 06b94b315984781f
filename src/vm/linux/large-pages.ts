/**
 * Large pages: their size, and the ways to ask for them. There are two kinds. hugetlb pages are set aside by the
 * administrator, and a mapping has them or fails. Transparent ones (THP) are made by the kernel out of ordinary memory,
 * when it is told that they are wanted.
 */
import { notAllowed } from "../../base/platform.ts";
import type { Address } from "../../ffi/contract.ts";
import { attempt } from "../attempts.ts";
import type { DualMapping } from "../contract.ts";
import type { SystemFiles } from "./files.ts";
import { Advice, MapFlag } from "./libc.ts";
import type { LinuxLibc } from "./libc.ts";

const TRANSPARENT_SIZE = "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size";
const MEMORY_INFO = "/proc/meminfo";

/** Why no large page size was found, where this process may not read the files that tell it; else undefined. */
export function largePageSizeRefusal(files: SystemFiles): string | undefined {
  if (readLargePageSize(files) !== 0) return undefined;
  const allowing = files.refusal(TRANSPARENT_SIZE) ?? files.refusal(MEMORY_INFO);
  return allowing === undefined ? undefined : notAllowed(allowing);
}

/**
 * The large page size in bytes, 0 = none.
 * The size of a transparent page comes first: where the default size of hugetlb pages differs from it, that is 1 GiB, and
 * no block of code is ever that large.
 */
export function readLargePageSize(files: SystemFiles): number {
  const transparent = Number(files.read(TRANSPARENT_SIZE)?.trim() ?? 0);
  if (isPageSize(transparent)) return transparent;
  const hugetlb = /^Hugepagesize:\s+(\d+) kB$/m.exec(files.read(MEMORY_INFO) ?? "")?.[1];
  const hugetlbBytes = Number(hugetlb ?? 0) * 1024;
  return isPageSize(hugetlbBytes) ? hugetlbBytes : 0;
}

function isPageSize(bytes: number): boolean {
  return Number.isSafeInteger(bytes) && bytes > 0 && Number.isInteger(Math.log2(bytes));
}

/**
 * The bits that tell mmap and memfd_create the size of large page; both use the same encoding. Without these bits the
 * calls take the default size, which may differ from the size that was found.
 */
export function largePageBits(largePageSize: number): number {
  return Math.log2(largePageSize) << MapFlag.HUGE_SHIFT;
}

/** Gives the kernel a hint. The result is ignored, and so is an error of the foreign function interface. */
function advise(libc: LinuxLibc, address: Address, sizeBytes: number, advice: number): void {
  attempt(() => libc.madvise(address, sizeBytes, advice));
}

/** Tells the kernel that private memory is to have transparent large pages. */
export function adviseLargePages(libc: LinuxLibc, address: Address, sizeBytes: number): void {
  advise(libc, address, sizeBytes, Advice.HUGEPAGE);
}

/**
 * Tells the kernel that both views of shared memory are to have transparent large pages. The kernel heeds MADV_HUGEPAGE
 * there only where `shmem_enabled` allows it, which is not the default. It always heeds MADV_COLLAPSE (Linux 6.1), but
 * for each view separately, and only for stretches of the file that have a page: so each stretch gets its first page
 * before.
 */
export function adviseLargePagesShared(
  libc: LinuxLibc,
  { rx, rw }: DualMapping,
  sizeBytes: number,
  pageSize: number,
  largePageSize: number,
): void {
  advise(libc, rw, sizeBytes, Advice.HUGEPAGE);
  advise(libc, rx, sizeBytes, Advice.HUGEPAGE);
  const wholePagesBytes = sizeBytes - (sizeBytes % largePageSize);
  for (let offset = 0; offset < wholePagesBytes; offset += largePageSize) {
    advise(libc, rw + offset, pageSize, Advice.POPULATE_WRITE);
  }
  advise(libc, rw, wholePagesBytes, Advice.COLLAPSE);
  advise(libc, rx, wholePagesBytes, Advice.COLLAPSE);
}
