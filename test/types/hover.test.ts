/** What an editor shows of a callable, asked from the compiler. */
import assert from "node:assert/strict";
import path from "node:path";
import { describe, test } from "node:test";
import ts from "typescript";

const LIBRARY = path.resolve(import.meta.dirname, "../../src/index.d.ts");

const PROGRAM = `
  import { signature, toFunction, type Span } from ${JSON.stringify(LIBRARY.replace(/\.d\.ts$/, ".js"))};
  declare const span: Span;
  export const add = toFunction(span, { parameters: ["i32", "i32"], result: "i32" });
  export const nothing = toFunction(span, { parameters: [], result: "void" });
  const kept = signature({ parameters: ["f64", "i64", "pointer"], result: "u64" });
  export const mixed = toFunction(span, kept);
  export const c = toFunction(span, { parameters: ["usize", "buffer?", "cstring"], result: "cstring" });
  export const size = toFunction(span, { parameters: ["cstring"], result: "usize" });
`;

/** The types of the program's exports, as an editor shows them. */
function shownTypes(): Readonly<Record<string, string>> {
  const options: ts.CompilerOptions = {
    strict: true,
    noEmit: true,
    target: ts.ScriptTarget.ES2022,
    lib: ["lib.es2024.d.ts", "lib.esnext.disposable.d.ts"],
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    types: [],
  };
  const file = path.resolve(import.meta.dirname, "hovered.mts");
  const host = ts.createCompilerHost(options);
  const onDisk = ts.createCompilerHost(options);
  const isProgram = (name: string): boolean => path.resolve(name) === file;
  host.getSourceFile = (name, ...rest) =>
    isProgram(name)
      ? ts.createSourceFile(name, PROGRAM, ts.ScriptTarget.ES2022)
      : onDisk.getSourceFile(name, ...rest);
  host.fileExists = (name) => isProgram(name) || onDisk.fileExists(name);
  const program = ts.createProgram([file], options, host);
  const source = program.getSourceFile(file);
  assert.ok(source);
  assert.deepEqual(
    program.getSemanticDiagnostics(source).map(({ messageText }) => messageText),
    [],
  );
  const checker = program.getTypeChecker();
  const module = checker.getSymbolAtLocation(source);
  assert.ok(module);
  return Object.fromEntries(
    checker
      .getExportsOfModule(module)
      .map((symbol) => [
        symbol.name,
        checker.typeToString(checker.getTypeOfSymbolAtLocation(symbol, source)),
      ]),
  );
}

describe("the type of a callable in an editor", () => {
  test("is a function with named arguments", () => {
    assert.deepEqual(shownTypes(), {
      add: "(a: number, b: number) => number",
      nothing: "() => void",
      mixed: "(a: number, b: bigint, c: number) => bigint",
      c: "(a: number, b: ArrayBuffer | ArrayBufferView<ArrayBufferLike> | null, c: string) => string | null",
      size: "(a: string) => number",
    });
  });
});
