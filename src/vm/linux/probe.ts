/** What `doctor` tries on a Linux machine. Every step undoes what it made. */
import { JitError } from "../../base/errors.ts";
import { notAllowed } from "../../base/platform.ts";
import { probeStep } from "../attempts.ts";
import type { ProbeStep } from "../contract.ts";
import type { DualMapper } from "./dual-mapping.ts";
import { codeOfErrno, errnoName } from "./errno.ts";
import { StepFailure } from "./ladder.ts";
import type { SystemFiles } from "./files.ts";
import { largePageBits, largePageSizeRefusal } from "./large-pages.ts";
import { Advice, MAP_FAILED, MapFlag, Protection } from "./libc.ts";
import type { LinuxLibc } from "./libc.ts";
import { SEALING_NEEDS } from "./range.ts";
import { reserve } from "./reserve.ts";

/** The parts that a probe uses. */
export interface ProbeParts {
  readonly libc: LinuxLibc;
  readonly files: SystemFiles;
  readonly dualMapper: DualMapper;
  readonly pageSize: number;
  readonly largePageSize: number;
}

/** Tries every way of making executable memory. Never throws. */
export function probe(parts: ProbeParts): readonly ProbeStep[] {
  const { dualMapper, pageSize, largePageSize } = parts;
  const steps: ProbeStep[] = [
    probeStep("mmap (read, write, execute)", () => {
      const everything = Protection.READ | Protection.WRITE | Protection.EXEC;
      advised(FORBIDDEN, () => tryMmap(parts.libc, pageSize, everything, 0));
      return "memory can be writable and executable at once";
    }),
    probeStep("mprotect (read, write → read, execute)", () => {
      advised(FORBIDDEN, () => tryMprotect(parts.libc, pageSize));
      return "memory can be written first and made executable then";
    }),
    memfdNoexec(parts.files),
    probeStep("mseal", () => {
      // No bytes: what is sealed stays sealed, so that nothing is.
      if (parts.libc.mseal(0, 0) === 0) return "blocks can be sealed (the option `sealed`)";
      const errno = parts.libc.errno();
      throw new JitError(codeOfErrno(errno), `${errnoName(errno)}: ${SEALING_NEEDS}`, {
        syscall: "mseal",
        errno,
      });
    }),
    ...dualMapper.ladder.map((step) =>
      probeStep(`dual mapping: ${step.name}`, () => {
        dualMapper.tryStep(step, pageSize);
        return "both views were mapped";
      }),
    ),
  ];
  const noVariables = parts.files.temporaryRefusal();
  if (noVariables !== undefined) {
    steps.push({ name: "TMPDIR", ok: null, detail: `${notAllowed(noVariables)}; files go to /tmp` });
  }
  if (largePageSize === 0) {
    const refusal = largePageSizeRefusal(parts.files);
    const [ok, detail] =
      refusal === undefined ? ([false, "this machine has none"] as const) : ([null, refusal] as const);
    return [...steps, { name: "large pages", ok, detail }];
  }
  return [
    ...steps,
    probeStep("large pages: mmap (MAP_HUGETLB)", () => {
      const flags = MapFlag.HUGETLB | largePageBits(largePageSize);
      const access = Protection.READ | Protection.WRITE;
      advised(NONE_SET_ASIDE, () => tryMmap(parts.libc, largePageSize, access, flags));
      return "pages are set aside (vm.nr_hugepages)";
    }),
    probeStep("large pages: memfd_create (MFD_HUGETLB)", () => {
      const step = dualMapper.hugetlbStep(largePageSize);
      advised(NONE_SET_ASIDE, () => dualMapper.tryStep(step, largePageSize));
      return "pages are set aside (vm.nr_hugepages), and can be mapped twice";
    }),
    probeStep("large pages: madvise (MADV_HUGEPAGE)", () => {
      tryMadvise(parts.libc, largePageSize, pageSize);
      const text = parts.files.read(TRANSPARENT_MODE);
      const mode = /\[(\w+)\]/.exec(text ?? "")?.[1]; // `always [madvise] never` → `madvise`
      if (mode === "never") throw new Error("transparent_hugepage/enabled is never; set it to madvise");
      const allowing = text === undefined ? parts.files.refusal(TRANSPARENT_MODE) : undefined;
      return `transparent_hugepage/enabled is ${mode ?? (allowing === undefined ? "unknown" : notAllowed(allowing))}`;
    }),
  ];
}

/** The usual cause of a refusal, where its error number does not say enough. */
const FORBIDDEN = "a security policy forbids it (SELinux, PaX, or a seccomp filter)";
const NONE_SET_ASIDE = "no pages are set aside; sysctl vm.nr_hugepages=64 sets some aside";

/** Appends advice to the error of a native call. */
function advised(advice: string, work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof StepFailure)) throw error;
    throw new JitError(error.code, `${error.message}; ${advice}`, error);
  }
}

function tryMmap(libc: LinuxLibc, sizeBytes: number, protection: number, flags: number): void {
  const address = libc.mmap(0, sizeBytes, protection, MapFlag.PRIVATE | MapFlag.ANONYMOUS | flags, -1, 0);
  if (address === MAP_FAILED) throw new StepFailure("mmap", libc.errno());
  libc.munmap(address, sizeBytes);
}

function tryMprotect(libc: LinuxLibc, pageSize: number): void {
  const access = Protection.READ | Protection.WRITE;
  const address = libc.mmap(0, pageSize, access, MapFlag.PRIVATE | MapFlag.ANONYMOUS, -1, 0);
  if (address === MAP_FAILED) throw new StepFailure("mmap", libc.errno());
  try {
    if (libc.mprotect(address, pageSize, Protection.READ | Protection.EXEC) !== 0) {
      throw new StepFailure("mprotect", libc.errno());
    }
  } finally {
    libc.munmap(address, pageSize);
  }
}

function tryMadvise(libc: LinuxLibc, largePageSize: number, pageSize: number): void {
  const address = reserve(libc, largePageSize, largePageSize, pageSize, "reserve a large page");
  try {
    if (libc.madvise(address, largePageSize, Advice.HUGEPAGE) !== 0) {
      throw new StepFailure("madvise", libc.errno());
    }
  } finally {
    libc.munmap(address, largePageSize);
  }
}

const TRANSPARENT_MODE = "/sys/kernel/mm/transparent_hugepage/enabled";
const NOEXEC_SETTING = "/proc/sys/vm/memfd_noexec";

const MEMFD_NOEXEC: Readonly<Record<string, string>> = {
  "0": "0: a memfd is executable unless it asks not to be",
  "1": "1: a memfd is executable only if it asks for it with MFD_EXEC",
  "2": "2: MFD_EXEC is refused; a memfd made without it can still be mapped executable",
};

function memfdNoexec(files: SystemFiles): ProbeStep {
  const name = "vm.memfd_noexec";
  const value = files.read(NOEXEC_SETTING)?.trim();
  const allowing = value === undefined ? files.refusal(NOEXEC_SETTING) : undefined;
  if (allowing !== undefined) return { name, ok: null, detail: notAllowed(allowing) };
  if (value === undefined)
    return { name, ok: true, detail: "not there: the kernel is older than the setting (6.3)" };
  return { name, ok: value !== "2", detail: MEMFD_NOEXEC[value] ?? value };
}
