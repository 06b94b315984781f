/** Where modules are looked for, in the package and in bundles of it. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isBundled, isFound, placesToLook, requireModule, type Surroundings } from "../../src/ffi/require.ts";

const PUBLISHED: Surroundings = {
  url: "file:///app/node_modules/jit-allocator/dist/package/index.js",
  file: undefined,
  mainScript: "/app/main.js",
  isWebpack: false,
};

describe("a module is looked for", () => {
  it("from this package alone, where it is installed", () => {
    assert.equal(isBundled(PUBLISHED), false);
    assert.deepEqual(placesToLook(PUBLISHED), [PUBLISHED.url]);
    assert.equal(isBundled(), false);
    assert.match(placesToLook().join(), /^file:.*require\.js$/);
  });

  it("from an ES module that it was bundled into, and from the main script", () => {
    const around = { ...PUBLISHED, url: "file:///out/bundle.mjs" };
    assert.equal(isBundled(around), true);
    assert.deepEqual(placesToLook(around), ["file:///out/bundle.mjs", "/app/main.js"]);
    assert.deepEqual(placesToLook({ ...around, mainScript: "/out/bundle.mjs" }), ["file:///out/bundle.mjs"]);
  });

  it("from a CommonJS file that has no import.meta", () => {
    const around = { ...PUBLISHED, url: undefined, file: "/out/bundle.cjs", mainScript: "/out/bundle.cjs" };
    assert.equal(isBundled(around), true);
    assert.deepEqual(placesToLook(around), ["/out/bundle.cjs"]);
    // An executable is the main script as it was typed.
    assert.deepEqual(placesToLook({ ...around, mainScript: "./bundle" }), ["/out/bundle.cjs"]);
  });

  it("from the main script of webpack's bundle, which has the address of the machine that bundled", () => {
    const around = { ...PUBLISHED, isWebpack: true, mainScript: "/deployed/bundle.js" };
    assert.equal(isBundled(around), true);
    assert.deepEqual(placesToLook(around), [PUBLISHED.url, "/deployed/bundle.js"]);
  });

  it("and is not found where there is none, nor from a place that is none", () => {
    assert.equal(isFound("jit-allocator/package.json"), true);
    assert.equal(isFound("jit-allocator/nothing.json"), false);
    assert.equal(isFound("node:fs", "no place"), false);
    assert.throws(() => requireModule("jit-allocator/nothing.json"), {
      code: /MODULE_NOT_FOUND|NOT_EXPORTED/,
    });
    assert.equal(typeof requireModule("node:fs"), "object");
  });
});
