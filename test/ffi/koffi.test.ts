/** koffi where it cannot be loaded: an error that says why. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { describe, it } from "node:test";
import { JitError } from "../../src/base/errors.ts";
import { openKoffi } from "../../src/ffi/koffi.ts";
import { platform } from "../../src/base/platform.ts";

const skip = platform.runtime !== "node" && "koffi is for Node; this runtime has an interface of its own";

describe("where koffi cannot be loaded", { skip }, () => {
  const failing = (code: string, message: string) => () =>
    openKoffi(() => {
      throw Object.assign(new Error(message), { code });
    });
  const isRefusal =
    (pattern: RegExp) =>
    (error: unknown): boolean =>
      error instanceof JitError && error.code === "ERR_FEATURE_NOT_ENABLED" && pattern.test(error.message);

  it("the error names the flag where addons are switched off", () => {
    assert.throws(failing("ERR_DLOPEN_DISABLED", "disabled"), isRefusal(/--allow-addons/));
  });

  it("the error says that it is not installed", () => {
    assert.throws(failing("MODULE_NOT_FOUND", "Cannot find module 'koffi'"), isRefusal(/--omit=optional/));
  });

  it("the error says where it was looked for, and that the package is gone where it is", () => {
    const gone = (): unknown =>
      openKoffi(
        () => {
          throw Object.assign(new Error("Cannot find module 'koffi'"), { code: "MODULE_NOT_FOUND" });
        },
        () => "gone",
      );
    assert.throws(
      gone,
      isRefusal(/looked for from file:.*require\.js\); .*chroot.*; call preload\(\) before that/),
    );
    assert.throws(
      failing("MODULE_NOT_FOUND", "Cannot find module 'koffi'"),
      isRefusal(/looked for from file:/),
    );
  });

  it("the error names the two folders that a bundle needs beside it", () => {
    const bundled = (code?: string) => () =>
      openKoffi(
        () => {
          throw Object.assign(new Error("Cannot find it"), { code });
        },
        () => "in a bundle",
      );
    const folders = /node_modules\/koffi and node_modules\/@koromix\/koffi-(linux|darwin|win32)-(x64|arm64)$/;
    assert.throws(bundled("MODULE_NOT_FOUND"), isRefusal(folders));
    // koffi is there and its binary is not: koffi's own error has no code.
    assert.throws(bundled(), isRefusal(folders));
    assert.throws(bundled("ERR_DLOPEN_FAILED"), isRefusal(/must match this system/));
  });

  it("the error says that the binary does not fit", () => {
    assert.throws(
      failing("ERR_DLOPEN_FAILED", "invalid ELF header"),
      isRefusal(/invalid ELF header; .*this machine/),
    );
  });

  it("a process with --no-addons gets that error", () => {
    const select = new URL("../../src/ffi/select.js", import.meta.url).href;
    const script = `import(${JSON.stringify(select)}).then(({ systemFfi }) => systemFfi()).catch((e) => console.log(e.code, e.message))`;
    const { stdout } = spawnSync(process.execPath, ["--no-addons", "-e", script], { encoding: "utf8" });
    assert.match(stdout, /^ERR_FEATURE_NOT_ENABLED .*--no-addons/);
  });

  it("importing the library does not load it", () => {
    const virtMem = new URL("../../src/api/virt-mem.js", import.meta.url).href;
    const script = `import(${JSON.stringify(virtMem)}).then(() =>
      console.log(Object.keys(require.cache).filter((path) => path.includes("koffi")).length))`;
    assert.equal(execFileSync(process.execPath, ["-e", script], { encoding: "utf8" }).trim(), "0");
  });
});
