/**
 * `node scripts/debian.js PACKAGE…`: installs Debian's packages, or says why it cannot. The suites that need another
 * machine run it: for Wine, for qemu, for musl.
 */
import { spawnSync } from "node:child_process";

/** Seconds: another program may be installing something. */
const LOCK_TIMEOUT_S = 600;

const packages = process.argv.slice(2);

function fail(why) {
  console.error(`Cannot install ${packages.join(", ")}: ${why}`);
  process.exit(1);
}

function aptGet(...args) {
  const { status, error } = spawnSync(
    "apt-get",
    ["-qq", "-o", `DPkg::Lock::Timeout=${LOCK_TIMEOUT_S}`, ...args],
    {
      // Only failures are of interest, and apt-get prints those on standard error.
      stdio: ["ignore", "ignore", "inherit"],
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    },
  );
  if (error !== undefined) {
    fail(
      `this system has no apt-get (${error.message}). On Debian it would be done; elsewhere get them by hand`,
    );
  }
  if (status !== 0) fail(`apt-get ${args.join(" ")} ended with ${status}`);
}

if (process.getuid?.() !== 0) {
  fail(`this is not root. On Debian: sudo apt-get install --no-install-recommends ${packages.join(" ")}`);
}
aptGet("update");
// The packages that qemu recommends would register it with the kernel, for all programs.
aptGet("install", "--yes", "--no-install-recommends", ...packages);
