/**
 * Lets assertions tell objects apart. `assert.deepStrictEqual`, and the equality of Vitest, Jest and Chai, compare own
 * properties, of which objects with private fields have none, and `Object.prototype.toString`. So no two objects of a class
 * are equal if its `Symbol.toStringTag` names the single object.
 */

const numbers = new WeakMap<object, number>();
let lastNumber = 0;

/** `text` and a number that no other object of this thread has. Given on first use; costs nothing before. */
export function numbered(text: string, object: object): string {
  let number = numbers.get(object);
  if (number === undefined) numbers.set(object, (number = ++lastNumber));
  return `${text} ${number}`;
}
