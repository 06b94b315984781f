/**
 * What tells two objects apart for assertions. `assert.deepStrictEqual`, and the equality of Vitest, Jest and Chai, compare
 * own properties, of which objects with private fields have none, and `Object.prototype.toString`: so a class whose
 * `Symbol.toStringTag` names the single object has no two that are equal.
 */

const numbers = new WeakMap<object, number>();
let lastNumber = 0;

/** `text` and a number that no other object of this thread has. It is given when it is first asked for, and costs nothing before. */
export function numbered(text: string, object: object): string {
  let number = numbers.get(object);
  if (number === undefined) numbers.set(object, (number = ++lastNumber));
  return `${text} ${number}`;
}
