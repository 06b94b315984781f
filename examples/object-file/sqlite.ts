/** SQLite in TypeScript: databases in memory, rows through a callback, functions of SQL written in TypeScript. */
import type { Address, NativeCallback, TypedFunction } from "jit-allocator";
import { toPointer, VirtMem } from "jit-allocator";
import type { FindFunction } from "./native.ts";

const OK = 0;
const ROW = 100;
const DONE = 101;
const UTF8_DETERMINISTIC = 1 | 0x800;
/** SQLite shall copy a text before the call returns. */
const TRANSIENT = -1n;
const POINTER_BYTES = 8;

const OPEN = { parameters: ["cstring", "buffer"], result: "i32" } as const;
const ON_CONNECTION = { parameters: ["pointer"], result: "i32" } as const;
const MESSAGE = { parameters: ["pointer"], result: "cstring" } as const;
const EXECUTE = {
  parameters: ["pointer", "cstring", "pointer", "pointer", "pointer"],
  result: "i32",
} as const;
const PREPARE = { parameters: ["pointer", "cstring", "i32", "buffer", "pointer"], result: "i32" } as const;
const BIND_INTEGER = { parameters: ["pointer", "i32", "i64"], result: "i32" } as const;
const BIND_DOUBLE = { parameters: ["pointer", "i32", "f64"], result: "i32" } as const;
const BIND_TEXT = { parameters: ["pointer", "i32", "cstring", "i32", "i64"], result: "i32" } as const;
const DEFINE = {
  parameters: ["pointer", "cstring", "i32", "i32", "pointer", "pointer", "pointer", "pointer", "pointer"],
  result: "i32",
} as const;
const VALUE = { parameters: ["pointer"], result: "f64" } as const;
const RESULT = { parameters: ["pointer", "f64"], result: "void" } as const;
const FAIL = { parameters: ["pointer", "cstring", "i32"], result: "void" } as const;
const NO_ARGUMENTS = { parameters: [], result: "i32" } as const;
/** Called for each row: what was handed over, the number of columns, their values, their names. */
const ROW_CALLBACK = { parameters: ["pointer", "i32", "pointer", "pointer"], result: "i32" } as const;
/** Called for a function of SQL: its context, the number of arguments, the arguments. */
const FUNCTION_CALLBACK = { parameters: ["pointer", "i32", "pointer"], result: "void" } as const;

/** What SQL passes and stores. */
export type Value = number | string;

/** The functions of SQLite that are used here. */
export class Sqlite {
  readonly open: TypedFunction<typeof OPEN>;
  readonly close: TypedFunction<typeof ON_CONNECTION>;
  readonly message: TypedFunction<typeof MESSAGE>;
  readonly execute: TypedFunction<typeof EXECUTE>;
  readonly prepare: TypedFunction<typeof PREPARE>;
  readonly bindInteger: TypedFunction<typeof BIND_INTEGER>;
  readonly bindDouble: TypedFunction<typeof BIND_DOUBLE>;
  readonly bindText: TypedFunction<typeof BIND_TEXT>;
  readonly step: TypedFunction<typeof ON_CONNECTION>;
  readonly reset: TypedFunction<typeof ON_CONNECTION>;
  readonly finalize: TypedFunction<typeof ON_CONNECTION>;
  readonly define: TypedFunction<typeof DEFINE>;
  readonly valueOf: TypedFunction<typeof VALUE>;
  readonly giveResult: TypedFunction<typeof RESULT>;
  readonly giveError: TypedFunction<typeof FAIL>;
  /** Gives back what SQLite holds: before its library is unloaded. */
  readonly shutdown: TypedFunction<typeof NO_ARGUMENTS>;

  constructor(find: FindFunction) {
    this.open = find("sqlite3_open", OPEN);
    this.close = find("sqlite3_close", ON_CONNECTION);
    this.message = find("sqlite3_errmsg", MESSAGE);
    this.execute = find("sqlite3_exec", EXECUTE);
    this.prepare = find("sqlite3_prepare_v2", PREPARE);
    this.bindInteger = find("sqlite3_bind_int64", BIND_INTEGER);
    this.bindDouble = find("sqlite3_bind_double", BIND_DOUBLE);
    this.bindText = find("sqlite3_bind_text", BIND_TEXT);
    this.step = find("sqlite3_step", ON_CONNECTION);
    this.reset = find("sqlite3_reset", ON_CONNECTION);
    this.finalize = find("sqlite3_finalize", ON_CONNECTION);
    this.define = find("sqlite3_create_function_v2", DEFINE);
    this.valueOf = find("sqlite3_value_double", VALUE);
    this.giveResult = find("sqlite3_result_double", RESULT);
    this.giveError = find("sqlite3_result_error", FAIL);
    this.shutdown = find("sqlite3_shutdown", NO_ARGUMENTS);
  }
}

/** A database in memory. */
export class Database implements Disposable {
  readonly #sqlite: Sqlite;
  readonly #connection: Address;
  readonly #functions: NativeCallback[] = [];

  constructor(sqlite: Sqlite) {
    const connection = new BigUint64Array(1);
    const status = sqlite.open(":memory:", connection);
    this.#sqlite = sqlite;
    this.#connection = Number(connection[0]);
    this.#check(status, "open a database");
  }

  /** Runs statements; what they return is dropped. */
  run(sql: string): void {
    this.#check(this.#sqlite.execute(this.#connection, sql, 0, 0, 0), sql);
  }

  /** Runs a query, and calls back for each row. What the callback throws ends the query and comes out of here. */
  query(sql: string, row: (values: readonly (string | null)[]) => void): void {
    let thrown: { readonly error: unknown } | undefined;
    using callback = toPointer((_context, count, values) => {
      try {
        row(pointersAt(values, count).map((text) => (text === 0 ? null : VirtMem.cstring(text))));
        return OK;
      } catch (error) {
        thrown ??= { error };
        return 1; // SQLite ends the query.
      }
    }, ROW_CALLBACK);
    const status = this.#sqlite.execute(this.#connection, sql, callback.address, 0, 0);
    if (thrown !== undefined) throw thrown.error;
    this.#check(status, sql);
  }

  /** Runs a statement once for each row of values, all or none of them. */
  insert(sql: string, rows: Iterable<readonly Value[]>): void {
    const { prepare, step, reset, finalize } = this.#sqlite;
    const prepared = new BigUint64Array(1);
    this.#check(prepare(this.#connection, sql, -1, prepared, 0), sql);
    const statement = Number(prepared[0]);
    this.run("BEGIN");
    try {
      for (const row of rows) {
        for (const [index, value] of row.entries()) this.#check(this.#bind(statement, index + 1, value), sql);
        const status = step(statement);
        if (status !== DONE && status !== ROW) this.#check(status, sql);
        this.#check(reset(statement), sql);
      }
      this.run("COMMIT");
    } catch (error) {
      finalize(statement);
      this.run("ROLLBACK");
      throw error;
    }
    this.#check(finalize(statement), sql);
  }

  /** Makes a function of numbers known to SQL. An error that it throws becomes the error of the statement. */
  define(name: string, parameterCount: number, compute: (...args: number[]) => number): void {
    const { valueOf, giveResult, giveError } = this.#sqlite;
    const callback = toPointer((context, count, values) => {
      try {
        giveResult(context, compute(...pointersAt(values, count).map((value) => valueOf(value))));
      } catch (error) {
        giveError(context, String(error), -1);
      }
    }, FUNCTION_CALLBACK);
    this.#functions.push(callback);
    const { address } = callback;
    const flags = UTF8_DETERMINISTIC;
    const status = this.#sqlite.define(this.#connection, name, parameterCount, flags, 0, address, 0, 0, 0);
    this.#check(status, `define ${name}`);
  }

  [Symbol.dispose](): void {
    this.#sqlite.close(this.#connection);
    for (const callback of this.#functions.splice(0)) callback.release();
  }

  #bind(statement: Address, index: number, value: Value): number {
    if (typeof value === "string") return this.#sqlite.bindText(statement, index, value, -1, TRANSIENT);
    return Number.isSafeInteger(value)
      ? this.#sqlite.bindInteger(statement, index, BigInt(value))
      : this.#sqlite.bindDouble(statement, index, value);
  }

  #check(status: number, action: string): void {
    if (status !== OK)
      throw new Error(`SQLite: ${this.#sqlite.message(this.#connection) ?? status}\n  ${action}`);
  }
}

/** The pointers in an array of C. */
function pointersAt(address: Address, count: number): readonly Address[] {
  const bytes = VirtMem.read(address, count * POINTER_BYTES);
  return Array.from(new BigUint64Array(bytes.buffer, bytes.byteOffset, count), Number);
}
