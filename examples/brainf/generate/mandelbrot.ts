import { BrainfWriter } from "./writer.ts";

// Numbers are fixed point, 64 to the unit, as sign (0 or 1) and magnitude (0 to 127, so less than 2).
// Products have two bytes. A value that would not fit ends the iteration: the point has escaped.

/** Points in a row, rows, and how far apart they are in 64ths. */
const COLUMNS = 56;
const ROWS = 23;
const COLUMN_STEP = 3;
const ROW_STEP = 7;
/** The first point of the first row, plus 128 to be positive: −2 and −77/64. */
const FIRST_X = 0;
const FIRST_Y = 51;
/** A point that has not escaped after this many steps counts as one that never does. */
const STEPS = 20;
/** The characters of points that escape after 0, 1, 2 … steps; the last one is for all later steps. */
const PALETTE = ".,-~:;=!*#$@%&";

class MandelbrotWriter extends BrainfWriter {
  /** high:low += cell, which becomes 0. One at a time: only the step from 255 to 0 tells of a carry. */
  addWide(low: string, high: string, cell: string): void {
    this.times(cell, () => {
      this.add(low, 1);
      this.copy(low, "test");
      this.ifElse(
        "test",
        "otherwise",
        () => undefined,
        () => this.add(high, 1),
      );
    });
  }

  /** high:low += left × right, which stay. */
  multiply(left: string, right: string, low: string, high: string): void {
    this.copy(left, "count");
    this.times("count", () => {
      this.copy(right, "addend");
      this.addWide(low, high, "addend");
    });
  }

  /** quotient += high:low / 2**shift, and both become 0; the quotient must fit. */
  shiftRight(low: string, high: string, shift: number, quotient: string): void {
    this.move(high, { [quotient]: 2 ** (8 - shift) });
    this.add("countdown", 2 ** shift);
    this.times(low, () => {
      this.add("countdown", -1);
      this.copy("countdown", "test");
      this.ifElse(
        "test",
        "otherwise",
        () => undefined,
        () => {
          this.add("countdown", 2 ** shift);
          this.add(quotient, 1);
        },
      );
    });
    this.clear("countdown");
  }

  /** sign, magnitude = left − right; both become 0. The sign of 0 is 0. */
  subtract(left: string, right: string, sign: string, magnitude: string): void {
    this.times(left, () => {
      this.copy(right, "test");
      this.ifElse(
        "test",
        "otherwise",
        () => this.add(right, -1),
        () => this.add(magnitude, 1),
      );
    });
    this.copy(right, "test");
    this.ifNonZero("test", () => this.add(sign, 1));
    this.move(right, { [magnitude]: 1 });
  }

  /** target ^= cell, which becomes 0; both are 0 or 1. */
  exclusiveOr(target: string, cell: string): void {
    this.ifNonZero(cell, () => {
      this.move(target, { test: 1 });
      this.ifElse(
        "test",
        "otherwise",
        () => undefined,
        () => this.add(target, 1),
      );
    });
  }

  /** sign, magnitude += c, which stays; sets `escaped` if the result is not below 2. */
  addSigned(sign: string, magnitude: string, cSign: string, cMagnitude: string): void {
    this.copy(cSign, "differ");
    this.copy(sign, "operand");
    this.exclusiveOr("differ", "operand");
    this.copy(cMagnitude, "addend");
    this.ifElse(
      "differ",
      "alike",
      () => {
        this.move(magnitude, { operand: 1 });
        this.subtract("operand", "addend", "flip", magnitude);
        this.exclusiveOr(sign, "flip");
      },
      () => this.addWide(magnitude, "carry", "addend"),
    );
    this.copy(magnitude, "addend");
    this.add("low", 128);
    this.addWide("low", "carry", "addend");
    this.clear("low");
    this.ifNonZero("carry", () => this.set("escaped", 1));
  }
}

/** The text of programs/mandelbrot.bf. */
export function mandelbrotProgram(): string {
  const writer = new MandelbrotWriter();
  writer.note("The Mandelbrot set in bytes");
  writer.note("");
  writer.note(
    `${COLUMNS} by ${ROWS} points of the complex plane: z becomes z squared plus c until it leaves the circle of`,
  );
  writer.note(
    `radius 2 or has taken ${STEPS} steps; the character says how many it took and a blank that it stays`,
  );
  writer.note("Numbers are fixed point with 64 to the unit: a cell for the sign and one for the magnitude");
  writer.note("Products take two cells; a sum of two cells is counted up one by one to notice the carry");
  writer.note("This text was written by generate/mandelbrot");
  writer.note("");
  // The cells used most come first, close together.
  for (const cell of ["addend", "low", "high", "test", "copyScratch", "otherwise", "count"])
    writer.clear(cell);
  writer.add("y", FIRST_Y);
  writer.add("rows", ROWS);
  writer.times("rows", () => {
    writer.note("a row: split its height into sign and magnitude");
    writer.copy("y", "operand");
    writer.add("addend", 128);
    writer.subtract("operand", "addend", "cySign", "cy");
    writer.add("y", ROW_STEP);
    writer.set("x", FIRST_X);
    writer.add("columns", COLUMNS);
    writer.times("columns", () => writePoint(writer));
    writer.clear("cySign", "cy");
    writer.note("end the line");
    writer.set("character", 10);
    writer.print("character");
  });
  return writer.text;
}

function writePoint(writer: MandelbrotWriter): void {
  writer.note("a point: split its x into sign and magnitude; z starts at 0");
  writer.copy("x", "operand");
  writer.add("addend", 128);
  writer.subtract("operand", "addend", "cxSign", "cx");
  writer.add("x", COLUMN_STEP);
  writer.set("inside", 1);
  writer.set("left", STEPS);
  writer.add("running", 1);
  writer.whileNonZero("running", () => writeStep(writer));

  writer.note("choose the character by the number of steps taken");
  writer.set("character", PALETTE.charCodeAt(0));
  for (const character of PALETTE.slice(1)) {
    writer.copy("steps", "test");
    writer.ifNonZero("test", () => {
      writer.add("steps", -1);
      writer.set("character", character.charCodeAt(0));
    });
  }
  writer.ifNonZero("inside", () => writer.set("character", 32));
  writer.print("character");
  writer.clear("steps", "cxSign", "cx", "zxSign", "zx", "zySign", "zy");
}

function writeStep(writer: MandelbrotWriter): void {
  writer.note("the square of the real part of z");
  writer.multiply("zx", "zx", "low", "high");
  writer.shiftRight("low", "high", 6, "xx");
  writer.note("the square of the imaginary part");
  writer.multiply("zy", "zy", "low", "high");
  writer.shiftRight("low", "high", 6, "yy");
  writer.note("if their sum is 4 or more z has escaped");
  writer.copy("xx", "sum");
  writer.copy("yy", "addend");
  writer.addWide("sum", "carry", "addend");
  writer.clear("sum");
  writer.ifNonZero("carry", () => writer.add("escaped", 1));

  writer.note("the new imaginary part: twice the product plus that of c");
  writer.multiply("zx", "zy", "low", "high");
  writer.clear("zx", "zy");
  writer.shiftRight("low", "high", 5, "zy");
  writer.move("zxSign", { operand: 1 });
  writer.exclusiveOr("zySign", "operand");
  writer.addSigned("zySign", "zy", "cySign", "cy");
  writer.note("the new real part: the difference of the squares plus that of c");
  writer.subtract("xx", "yy", "zxSign", "zx");
  writer.addSigned("zxSign", "zx", "cxSign", "cx");

  writer.note("stop if it has escaped or has no steps left");
  writer.ifElse(
    "escaped",
    "otherwise",
    () => writer.clear("running", "inside"),
    () => {
      writer.add("steps", 1);
      writer.add("left", -1);
      writer.clear("running");
      writer.copy("left", "test");
      writer.ifNonZero("test", () => writer.add("running", 1));
    },
  );
}
