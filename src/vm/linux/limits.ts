/** The limits of a Linux process that matter to an allocator of code. */
import { notAllowed } from "../../base/platform.ts";
import { attempt } from "../attempts.ts";
import type { MemoryLimit } from "../contract.ts";
import { errnoName } from "./errno.ts";
import type { SystemFiles } from "./files.ts";
import { Resource } from "./libc.ts";
import type { LinuxLibc } from "./libc.ts";

/** All bits set: RLIM_INFINITY. */
const UNLIMITED = 2n ** 64n - 1n;

/** The buffer that `getrlimit` writes. Each thread has its own, and reads it before the next call. */
const result = new BigUint64Array(2);

/** The soft limit in force, null = unlimited, undefined where the system does not tell. */
export function readLimit(libc: LinuxLibc, resource: number): number | null | undefined {
  if (libc.getrlimit(resource, result) !== 0) return undefined;
  const soft = result[0];
  return soft === undefined ? undefined : soft === UNLIMITED ? null : Number(soft);
}

/**
 * The limit that a file of that length would exceed, or undefined. It is checked before a file grows, because growing
 * past it raises SIGXFSZ, which ends the process. The limit holds for every kind of file, memfds included.
 */
export function exceededFileLimit(libc: LinuxLibc, sizeBytes: number): number | undefined {
  const limitBytes = readLimit(libc, Resource.FSIZE) ?? Infinity;
  return sizeBytes > limitBytes ? limitBytes : undefined;
}

/**
 * The limits that `doctor` shows. A limit that the system does not have is left out. Where its value is not known, the
 * value is a text that says why.
 */
export function readLimits(libc: LinuxLibc, files: SystemFiles): readonly MemoryLimit[] {
  const limits: MemoryLimit[] = [];
  const add = (limit: Omit<MemoryLimit, "value">, value: MemoryLimit["value"] | undefined): void => {
    if (value !== undefined && !Number.isNaN(value)) limits.push({ ...limit, value });
  };
  const read = (resource: number): MemoryLimit["value"] | undefined =>
    attempt(() => {
      const value = readLimit(libc, resource);
      if (value !== undefined) return value;
      const errno = libc.errno();
      return `unknown: getrlimit: ${errnoName(errno)} (${errno})`;
    });
  add(
    {
      name: "RLIMIT_AS",
      unit: "bytes",
      meaning: "the addresses of this process; a dual mapping takes twice its size",
    },
    read(Resource.AS),
  );
  add(
    { name: "RLIMIT_FSIZE", unit: "bytes", meaning: "the size of a file, and so of one dual mapping" },
    read(Resource.FSIZE),
  );
  add(
    {
      name: "RLIMIT_NOFILE",
      unit: "descriptors",
      meaning: "open descriptors; making a dual mapping takes one for a moment",
    },
    read(Resource.NOFILE),
  );
  add(
    {
      name: "vm.max_map_count",
      unit: "mappings",
      meaning: "mappings of this process; a dual-mapped block takes two",
    },
    numberIn(files, "/proc/sys/vm/max_map_count"),
  );
  return limits;
}

function numberIn(files: SystemFiles, path: string): number | string | undefined {
  const text = files.read(path);
  if (text !== undefined) return Number.parseInt(text, 10);
  const allowing = files.refusal(path);
  return allowing === undefined ? undefined : notAllowed(allowing);
}
