/** The error for a dual mapping of which every way was refused: which of the reasons counts, and what helps. */
import { JitError } from "../../base/errors.ts";
import type { JitErrorCode } from "../../base/errors.ts";
import { Errno } from "./errno.ts";
import type { LadderStep, StepFailure } from "./ladder.ts";

/** A step of the ladder, and why it failed. */
export interface Refusal {
  readonly step: LadderStep;
  readonly failure: StepFailure;
}

/** @param asked the request, worded to follow `Cannot` */
export function everyWayRefused(asked: string, refusals: readonly Refusal[]): JitError {
  const full = refusals.filter(isFull);
  const told = full[0] ?? refusals.at(-1);
  const tried = refusals.map(({ step, failure }) => `${step.name} (${failure.message})`).join("; ");
  const advice = full.length === 0 ? adviceFor(refusals) : adviceForFull(full);
  return new JitError(
    codeOf(refusals),
    `Cannot ${asked}: every way was refused: ${[tried, ...advice].join("; ")}`,
    { syscall: told?.failure.syscall, errno: told?.failure.errno },
  );
}

/**
 * The error's code. If any step only lacked room, it is `ERR_OUT_OF_MEMORY`: once the caller releases code that step
 * works, whatever keeps the others closed. Else it is the code that all steps agree on. Where they disagree, or agree on
 * `ERR_INVALID_ARGUMENT`, dual mapping is a feature that this machine does not have (`ERR_FEATURE_NOT_ENABLED`).
 */
function codeOf(refusals: readonly Refusal[]): JitErrorCode {
  if (refusals.some(isFull)) return "ERR_OUT_OF_MEMORY";
  const codes = new Set(refusals.map(({ failure }) => failure.code));
  const [only] = codes;
  return codes.size === 1 && only !== undefined && only !== "ERR_INVALID_ARGUMENT"
    ? only
    : "ERR_FEATURE_NOT_ENABLED";
}

function isFull({ failure }: Refusal): boolean {
  return failure.code === "ERR_OUT_OF_MEMORY";
}

function adviceForFull(full: readonly Refusal[]): readonly string[] {
  const folders = full.flatMap(({ step }) => step.directory ?? []);
  const where = folders.length === 0 ? "" : ` in ${folders.join(", ")}`;
  return [
    `there is no room left${where}: release code${folders.length === 0 ? "" : ", or give more room there"}`,
  ];
}

/** What would make the steps work that were tried, each remedy once. */
function adviceFor(refusals: readonly Refusal[]): readonly string[] {
  return [...new Set(refusals.flatMap((refusal) => remedyOf(refusal) ?? []))];
}

function remedyOf({ step, failure: { syscall, errno } }: Refusal): string | undefined {
  const { directory } = step;
  if (syscall === "mmap" && errno === Errno.EACCES) {
    return "let the security policy of this system (SELinux and the like; its log names the rule) allow it";
  }
  if (syscall === "mmap" && errno === Errno.EPERM) {
    return directory === undefined ? "set vm.memfd_noexec to 0 or 1" : `mount ${directory} without noexec`;
  }
  if (syscall === "memfd_create" && errno === Errno.EACCES) return "set vm.memfd_noexec to 0 or 1";
  if (syscall === "memfd_create" && (errno === Errno.EPERM || errno === Errno.ENOSYS)) {
    return "let the filter of system calls (seccomp) pass memfd_create";
  }
  return directory === undefined ? undefined : `let TMPDIR be a folder that this process can write to`;
}
