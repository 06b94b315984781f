/** Archives of plain C that the linker was not written for: what is linked does what it does elsewhere. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { JitAllocator, toPointer } from "jit-allocator";
import { LoadedLibrary } from "../../../examples/object-file/library.ts";
import { archiveOf } from "../../support/archives.ts";

const archives = {
  zstd: archiveOf("libzstd.a", "libzstd-dev"),
  bzip2: archiveOf("libbz2.a", "libbz2-dev"),
  expat: archiveOf("libexpat.a", "libexpat1-dev"),
  lua: archiveOf("liblua5.4.a", "liblua5.4-dev"),
};

const TEXT = new TextEncoder().encode("to and fro, ".repeat(5000));

test("zstd compresses and decompresses", { skip: archives.zstd.skip }, () => {
  using allocator = new JitAllocator();
  using library = LoadedLibrary.load(allocator, archives.zstd.file);
  const compress = library.toFunction("ZSTD_compress", {
    parameters: ["buffer", "usize", "buffer", "usize", "i32"],
    result: "usize",
  });
  const decompress = library.toFunction("ZSTD_decompress", {
    parameters: ["buffer", "usize", "buffer", "usize"],
    result: "usize",
  });
  const packed = new Uint8Array(TEXT.length);
  const size = compress(packed, packed.length, TEXT, TEXT.length, 3);
  assert.ok(size > 0 && size < 1000, String(size));
  const unpacked = new Uint8Array(TEXT.length);
  assert.equal(decompress(unpacked, unpacked.length, packed, size), TEXT.length);
  assert.deepEqual(unpacked, TEXT);
});

test("bzip2 compresses and decompresses", { skip: archives.bzip2.skip }, () => {
  using allocator = new JitAllocator();
  using library = LoadedLibrary.load(allocator, archives.bzip2.file);
  const compress = library.toFunction("BZ2_bzBuffToBuffCompress", {
    parameters: ["buffer", "buffer", "buffer", "u32", "i32", "i32", "i32"],
    result: "i32",
  });
  const decompress = library.toFunction("BZ2_bzBuffToBuffDecompress", {
    parameters: ["buffer", "buffer", "buffer", "u32", "i32", "i32"],
    result: "i32",
  });
  const packed = new Uint8Array(TEXT.length);
  const size = Uint32Array.of(packed.length);
  assert.equal(compress(packed, size, TEXT, TEXT.length, 9, 0, 0), 0);
  const unpacked = new Uint8Array(TEXT.length);
  assert.equal(decompress(unpacked, Uint32Array.of(unpacked.length), packed, size[0] ?? 0, 0, 0), 0);
  assert.deepEqual(unpacked, TEXT);
});

test("expat calls back for each element", { skip: archives.expat.skip }, () => {
  using allocator = new JitAllocator();
  using library = LoadedLibrary.load(allocator, archives.expat.file);
  const create = library.toFunction("XML_ParserCreate", { parameters: ["cstring"], result: "pointer" });
  const onStart = library.toFunction("XML_SetStartElementHandler", {
    parameters: ["pointer", "pointer"],
    result: "void",
  });
  const parse = library.toFunction("XML_Parse", {
    parameters: ["pointer", "cstring", "i32", "i32"],
    result: "i32",
  });
  const free = library.toFunction("XML_ParserFree", { parameters: ["pointer"], result: "void" });
  const names: (string | null)[] = [];
  using callback = toPointer((_data, name) => void names.push(name), {
    parameters: ["pointer", "cstring", "pointer"],
    result: "void",
  });
  const parser = create("UTF-8");
  onStart(parser, callback.address);
  const text = "<a><b>text</b><c d='1'/></a>";
  assert.equal(parse(parser, text, text.length, 1), 1);
  free(parser);
  assert.deepEqual(names, ["a", "b", "c"]);
});

test("Lua runs a program that jumps out of errors and calls TypeScript", { skip: archives.lua.skip }, () => {
  using allocator = new JitAllocator();
  using library = LoadedLibrary.load(allocator, archives.lua.file);
  const state = library.toFunction("luaL_newstate", { parameters: [], result: "pointer" })();
  library.toFunction("luaL_openlibs", { parameters: ["pointer"], result: "void" })(state);
  const push = library.toFunction("lua_pushinteger", { parameters: ["pointer", "i64"], result: "void" });
  const integerAt = library.toFunction("lua_tointegerx", {
    parameters: ["pointer", "i32", "pointer"],
    result: "i64",
  });
  using double = toPointer(
    (caller) => {
      push(caller, 2n * integerAt(caller, 1, 0));
      return 1;
    },
    { parameters: ["pointer"], result: "i32" },
  );
  library.toFunction("lua_pushcclosure", { parameters: ["pointer", "pointer", "i32"], result: "void" })(
    state,
    double.address,
    0,
  );
  library.toFunction("lua_setglobal", { parameters: ["pointer", "cstring"], result: "void" })(
    state,
    "double",
  );
  const program =
    "local sums = {} for i = 1, 5 do sums[i] = double(i) end " +
    "local isFine, message = pcall(error, 'caught', 0) " +
    "return table.concat(sums, ',') .. ' ' .. tostring(isFine) .. ' ' .. message";
  const load = library.toFunction("luaL_loadstring", { parameters: ["pointer", "cstring"], result: "i32" });
  assert.equal(load(state, program), 0);
  const call = library.toFunction("lua_pcallk", {
    parameters: ["pointer", "i32", "i32", "i32", "i64", "pointer"],
    result: "i32",
  });
  assert.equal(call(state, 0, 1, 0, 0n, 0), 0);
  const textAt = library.toFunction("lua_tolstring", {
    parameters: ["pointer", "i32", "pointer"],
    result: "cstring",
  });
  assert.equal(textAt(state, -1, 0), "2,4,6,8,10 false caught");
  library.toFunction("lua_close", { parameters: ["pointer"], result: "void" })(state);
});
