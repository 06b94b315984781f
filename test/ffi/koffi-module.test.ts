/** Which of koffi's files are loaded. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { describe, it } from "node:test";
import { koffiBinary, requireKoffi } from "../../src/ffi/koffi-module.ts";
import { platform } from "../../src/base/platform.ts";

const skip = platform.runtime !== "node" && "koffi is for Node; this runtime has an interface of its own";
const isElsewhere =
  platform.runtime === "node" && !isOfGlibc() && "glibc's binary, on Linux, is the one that is loaded alone";

/** What Node itself says of the C library it runs on. */
function isOfGlibc(): boolean {
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime !== undefined;
}

describe("koffi's module", { skip }, () => {
  it("is its binary alone where that is known to be the right one", { skip: isElsewhere }, () => {
    const module = new URL("../../src/ffi/koffi-module.js", import.meta.url).href;
    const script = `import(${JSON.stringify(module)}).then(({ requireKoffi }) => {
      requireKoffi();
      console.log(Object.keys(require.cache).map((path) => path.replace(/.*[\\\\/]/, "")).join());
    })`;
    assert.equal(execFileSync(process.execPath, ["-e", script], { encoding: "utf8" }).trim(), "koffi.node");
  });

  const koffi = { ...requireKoffi() };
  const found = (changed: object) => (): unknown => koffiBinary(() => ({ ...koffi, ...changed }));

  it(
    "is taken from the least version that it is known of on, of the same major version",
    { skip: isElsewhere },
    () => {
      for (const version of ["3.3.4", "3.3.5", "3.4.0", "3.10.1"])
        assert.deepEqual(found({ version })(), { ...koffi, version });
      for (const version of ["2.16.3", "3.3.3", "3.2.9", "4.0.0", "4.3.4", "", undefined])
        assert.equal(found({ version })(), undefined, version);
    },
  );

  it("is not taken where it lacks a function, or does not load", () => {
    assert.equal(found({ decode: undefined })(), undefined);
    for (const odd of [undefined, null, "koffi", {}])
      assert.equal(
        koffiBinary(() => odd),
        undefined,
      );
    const refusing = (): never => {
      throw new Error("invalid ELF header");
    };
    assert.equal(koffiBinary(refusing), undefined);
  });

  it("is koffi, with its own search, where the binary is not taken", () => {
    const asked: string[] = [];
    const load = (name: string): unknown => {
      asked.push(name);
      if (name !== "koffi") throw new Error(`Cannot find module '${name}'`);
      return koffi;
    };
    assert.equal(requireKoffi(load), koffi);
    assert.equal(asked.at(-1), "koffi");
  });
});
