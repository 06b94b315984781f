import { BrainfWriter } from "./writer.ts";

/** Primes are looked for up to this number: the largest that a cell can hold. */
const BOUND = 255;

/** The text of programs/primes.bf. */
export function primesProgram(): string {
  const writer = new BrainfWriter();
  writer.note(`The primes up to ${BOUND}`);
  writer.note("");
  writer.note("A number is prime if none from 2 up to the number before it divides it");
  writer.note("This text was written by generate/primes");
  writer.note("");
  for (const cell of ["n", "divisor", "rest", "countdown", "test", "copyScratch", "otherwise"])
    writer.clear(cell);
  writer.add("n", 2);
  writer.add("numbers", BOUND - 1);
  writer.times("numbers", () => {
    writer.note("try each divisor");
    writer.set("divisor", 2);
    writer.copy("n", "divisors");
    writer.add("divisors", -2);
    writer.add("prime", 1);
    writer.times("divisors", () => writeDivision(writer));
    writer.ifNonZero("prime", () => writeNumber(writer));
    writer.add("n", 1);
  });
  return writer.text;
}

/** Counts n down in steps of 1; the countdown starts again with the divisor each time it gets to 0. */
function writeDivision(writer: BrainfWriter): void {
  writer.note("count n down and the divisor with it again and again: both end together if it divides n");
  writer.copy("n", "rest");
  writer.copy("divisor", "countdown");
  writer.times("rest", () => {
    writer.add("countdown", -1);
    writer.copy("countdown", "test");
    writer.ifElse(
      "test",
      "otherwise",
      () => undefined,
      () => writer.copy("divisor", "countdown"),
    );
  });
  writer.copy("divisor", "test");
  writer.move("countdown", { test: -1 });
  writer.ifElse(
    "test",
    "otherwise",
    () => undefined,
    () => writer.clear("prime"),
  );
  writer.add("divisor", 1);
}

function writeNumber(writer: BrainfWriter): void {
  writer.note("a prime: count its decimal digits up");
  writer.copy("n", "rest");
  writer.times("rest", () => {
    writer.add("ones", 1);
    carry(writer, "ones", () => {
      writer.add("tens", 1);
      carry(writer, "tens", () => writer.add("hundreds", 1));
    });
  });
  writer.note("print them without zeros in front");
  writer.copy("hundreds", "test");
  writer.ifNonZero("test", () => writeDigit(writer, "hundreds"));
  writer.copy("hundreds", "test");
  writer.copy("tens", "test");
  writer.ifNonZero("test", () => writeDigit(writer, "tens"));
  writeDigit(writer, "ones");
  writer.clear("hundreds", "tens", "ones");
  writer.set("rest", 10);
  writer.print("rest");
  writer.clear("rest");
}

/** If the digit has got to 10 it is 0, and the steps are taken. */
function carry(writer: BrainfWriter, digit: string, steps: () => void): void {
  const test = `${digit}Test`;
  writer.copy(digit, test);
  writer.add(test, -10);
  writer.ifElse(
    test,
    `${digit}Otherwise`,
    () => undefined,
    () => {
      writer.clear(digit);
      steps();
    },
  );
}

function writeDigit(writer: BrainfWriter, digit: string): void {
  writer.add(digit, 48);
  writer.print(digit);
  writer.add(digit, -48);
}
