/** The doctor, on this machine and on worse ones. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { doctor, runDoctor } from "../../src/cli/doctor.ts";
import { examine } from "../../src/cli/examination.ts";
import type { DoctorPatient, DoctorReport } from "../../src/cli/examination.ts";
import type { CommandIo } from "../../src/cli/command.ts";
import { JitError } from "../../src/base/errors.ts";
import { systemFfi } from "../../src/ffi/select.ts";
import { platform } from "../../src/base/platform.ts";
import { Errno } from "../../src/vm/linux/errno.ts";
import { FakeKernel32 } from "../support/fake-kernel32.ts";
import { FakeLibc } from "../support/fake-libc.ts";
import { FakeLibSystem } from "../support/fake-libsystem.ts";
import { linuxOn } from "../support/linux-on.ts";
import { needs } from "../support/requirements.ts";

function makeIo(color = false): CommandIo & { out: string; err: string } {
  return {
    out: "",
    err: "",
    color,
    stdout(text) {
      this.out += String(text);
    },
    stderr(text) {
      this.err += text;
    },
    readStdin: () => new Uint8Array(),
  };
}

/** A fake machine whose processor runs nothing: `other`, so that no code is really called. */
function patientOn(libc: FakeLibc): DoctorPatient {
  return {
    platform: { ...platform, processor: "other" },
    systemRelease: () => "1.2.3",
    ffi: () => ({
      ...systemFfi(),
      name: "fake",
      version: "0",
      callable: () => assert.fail("no code may run here"),
    }),
    memory: () => linuxOn(libc),
  };
}

describe("doctor", () => {
  it("finds this machine fit, and runs code on it", async () => {
    const io = makeIo();
    assert.equal(await doctor.run([], io), 0);
    assert.match(
      io.out,
      /ok {2}run code: dual mapping +a function that returns 42 was written, run, and returned it/,
    );
    for (const part of [
      "page size",
      "large page size",
      "hardened",
      systemFfi().name,
      `${platform.runtime} ${platform.runtimeVersion}`,
      `${platform.processor}: process.arch is`,
    ]) {
      assert.ok(io.out.includes(part), part);
    }
    assert.ok(!io.out.includes("\u001b"));
    assert.equal(io.err, "");
  });

  it("finds what Linux has, and Linux alone", { skip: needs("linux") }, async () => {
    const io = makeIo();
    await doctor.run([], io);
    for (const part of [
      "dual mapping: memfd_create (MFD_EXEC)",
      "dual mapping: an unlinked file in /dev/shm",
      "RLIMIT_AS",
      "RLIMIT_FSIZE",
      "RLIMIT_NOFILE",
      "vm.max_map_count",
    ]) {
      assert.ok(io.out.includes(part), part);
    }
  });

  it("prints the same as JSON", async () => {
    const io = makeIo();
    assert.equal(await doctor.run(["--json"], io), 0);
    const report = JSON.parse(io.out) as DoctorReport;
    assert.equal(report.ok, true);
    assert.equal(report.ffi?.name, systemFfi().name);
    assert.equal(report.memory?.hardened?.dualMapping, true);
    assert.ok(report.steps.length > 4);
    assert.ok(Array.isArray(report.limits));
  });

  it("says by what it tells where it is", async () => {
    const io = makeIo();
    await doctor.run(["--json"], io);
    const report = JSON.parse(io.out) as DoctorReport;
    assert.equal(report.system.reason, `process.platform is ${JSON.stringify(process.platform)}`);
    assert.equal(report.processor.reason, `process.arch is ${JSON.stringify(process.arch)}`);
    assert.equal(report.runtime.reason.includes("neither Bun nor Deno"), platform.runtime === "node");
    assert.ok((report.ffi?.reason ?? "") !== "");
  });

  it("colours only where it is asked to", () => {
    const io = makeIo(true);
    runDoctor([], io, patientOn(new FakeLibc()));
    assert.ok(io.out.includes("\u001b[32mok\u001b[0m"));
  });

  it("prints its help", async () => {
    for (const flag of ["--help", "-h"]) {
      const io = makeIo();
      assert.equal(await doctor.run([flag], io), 0);
      assert.equal(io.out, doctor.help);
    }
  });

  it("says to switch dual mapping off where it alone is refused, and exits 0", () => {
    const libc = new FakeLibc({ hasMemfd: false, noexec: ["/dev/shm", "/tmp"] });
    const io = makeIo();
    assert.equal(runDoctor([], io, patientOn(libc)), 0);
    assert.match(io.out, /no {2}dual mapping: an unlinked file in \/dev\/shm .*noexec/);
    assert.match(io.out, /with `useDualMapping: false` alone/);
    assert.match(io.out, /- Pass `useDualMapping: false`/);
    assert.deepEqual(libc.leftovers(), []);
  });

  it("says to leave it on where memory cannot be writable and executable", () => {
    const libc = new FakeLibc();
    libc.refuse("mmap", Errno.EACCES, ([, , protection]) => protection === 7);
    const report = examine(patientOn(libc));
    assert.equal(report.ok, true);
    assert.equal(report.memory?.hardened?.enabled, true);
    assert.ok(report.advice.some((line) => line.includes("leave `useDualMapping` on")));
  });

  it("exits 1 where no memory can be made executable, and says why", () => {
    const libc = new FakeLibc();
    libc.refuse("mmap", Errno.EACCES, ([, , protection]) => ((protection as number) & 4) !== 0);
    const io = makeIo();
    assert.equal(runDoctor([], io, patientOn(libc)), 1);
    assert.match(io.out, /Machine code cannot be run here/);
    assert.match(io.out, /EACCES \(13\)/);
    assert.deepEqual(libc.leftovers(), []);
  });

  it("warns of a file size limit that large blocks will meet", () => {
    const { advice } = examine(patientOn(new FakeLibc({ fileSizeLimit: 1024 * 1024 })));
    assert.ok(advice.some((line) => line.startsWith("RLIMIT_FSIZE is 1048576 bytes")));
  });

  it("exits 1 where no native code can be called, and passes the reason on", () => {
    const io = makeIo();
    const patient: DoctorPatient = {
      ...patientOn(new FakeLibc()),
      ffi: () => {
        throw new JitError("ERR_FEATURE_NOT_ENABLED", "Cannot load koffi: use --allow-addons");
      },
    };
    assert.equal(runDoctor([], io, patient), 1);
    assert.match(io.out, /FFI +none/);
    assert.match(io.out, /--allow-addons/);
    const json = makeIo();
    assert.equal(runDoctor(["--json"], json, patient), 1);
    assert.equal((JSON.parse(json.out) as DoctorReport).ffi, null);
  });

  it("shows what it may not ask, and what would let it", () => {
    const libc = new FakeLibc({ hidesFiles: () => true, hidesVariables: true });
    const io = makeIo();
    assert.equal(runDoctor([], io, patientOn(libc)), 0);
    assert.match(io.out, /large page size +unknown: see below/);
    for (const name of ["vm.memfd_noexec", "large pages"]) {
      assert.match(
        io.out,
        new RegExp(`\\? +${name} +unknown: not allowed to ask; --allow-secrets would allow it`),
      );
    }
    assert.match(io.out, /TMPDIR +unknown: not allowed to ask; --allow-variables would allow it/);
    assert.match(io.out, /vm\.max_map_count +unknown: not allowed to ask; --allow-secrets/);
    const report = examine(patientOn(libc));
    assert.equal(report.memory?.largePageSize, null);
    assert.equal(report.steps.find(({ name }) => name === "vm.memfd_noexec")?.ok, null);
  });

  it("says whether blocks can be sealed, and what that needs", () => {
    const sealing = (libc: FakeLibc) => examine(patientOn(libc)).steps.find(({ name }) => name === "mseal");
    assert.equal(sealing(new FakeLibc())?.ok, true);
    const old = sealing(new FakeLibc({ knowsMseal: false }));
    assert.equal(old?.ok, false);
    assert.match(old.detail, /ENOSYS.*Linux 6\.10/);
    assert.deepEqual([old.syscall, old.errno], ["mseal", Errno.ENOSYS]);
  });

  it("says whether all blocks lie in one range, or what stands in the way", () => {
    const range = (libc: FakeLibc) =>
      examine(patientOn(libc)).steps.find(({ name }) => name === "one range for all blocks");
    assert.equal(range(new FakeLibc())?.ok, true);
    const withoutProc = new FakeLibc();
    withoutProc.refuse("open", Errno.ENOENT);
    assert.equal(range(withoutProc)?.ok, false);
    assert.match(range(withoutProc)?.detail ?? "", /mapped one by one: open: ENOENT.*\/proc\/self\/fd/);
  });

  for (const [system, memory, reason] of [
    ["Windows", () => new FakeKernel32().memory, /placeholders/],
    ["macOS", () => new FakeLibSystem({ processor: "Intel" }).memory, /on macOS, where it never ran/],
  ] as const) {
    it(`says plainly that ${system} does not keep the promise of one range, and why`, () => {
      const io = makeIo();
      const patient = { ...patientOn(new FakeLibc()), memory };
      assert.equal(runDoctor([], io, patient), 0);
      assert.match(io.out, /no {2}one range for all blocks/);
      const step = examine(patient).steps.find(({ name }) => name === "one range for all blocks");
      assert.equal(step?.ok, false);
      assert.match(
        step.detail,
        /may lie further apart than a relative call reaches.*`near` and `sealed` are refused/,
      );
      assert.match(step.detail, reason);
    });
  }

  it("tells a file that is not there from one that it may not read", () => {
    const report = examine(patientOn(new FakeLibc()));
    assert.equal(report.memory?.largePageSize, 0);
    assert.equal(report.steps.find(({ name }) => name === "large pages")?.ok, false);
    assert.match(report.steps.find(({ name }) => name === "vm.memfd_noexec")?.detail ?? "", /^not there/);
    assert.ok(report.limits.every(({ name }) => name !== "vm.max_map_count"));
  });

  const refusals = [
    Object.assign(new Error("Requires sys access, run again with the --allow-sys flag"), {
      name: "NotCapable",
    }),
    Object.assign(new Error("Access to this API has been restricted"), { code: "ERR_ACCESS_DENIED" }),
    new JitError("ERR_PERMISSION", "refused", { syscall: "mmap", errno: 13 }),
    new TypeError("no such thing"),
  ];
  for (const refusal of refusals) {
    it(`never throws, whichever question is answered with ${refusal.name}: ${refusal.message}`, () => {
      const refuse = (): never => {
        throw refusal;
      };
      const questions = [
        "info",
        "largePageSize",
        "hardenedRuntimeInfo",
        "probe",
        "limits",
        "alloc",
        "allocDualMapping",
      ] as const;
      for (const question of questions) {
        const memory = linuxOn(new FakeLibc());
        memory[question] = refuse;
        const patient = { ...patientOn(new FakeLibc()), memory: () => memory };
        const report = examine(patient);
        assert.match(JSON.stringify(report), new RegExp(`${refusal.message}|unknown: not allowed to ask`));
        for (const isJson of [true, false]) runDoctor(isJson ? ["--json"] : [], makeIo(), patient);
      }
      const patient = { ...patientOn(new FakeLibc()), systemRelease: refuse };
      assert.match(examine(patient).system.release, /^unknown: /);
      assert.equal(examine({ ...patient, ffi: refuse }).ok, false);
      assert.equal(examine({ ...patient, memory: refuse }).ok, false);
    });
  }
});
