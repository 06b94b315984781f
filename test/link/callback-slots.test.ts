/** The machine code of callbacks: when it is made, used again, and closed. The foreign function interface is a fake. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitError } from "../../src/base/errors.ts";
import type { CallbackCode } from "../../src/ffi/contract.ts";
import { CallbackSlots } from "../../src/link/callback-slots.ts";
import { beginCallback, endCallback } from "../../src/link/signals.ts";
import { throwsJitError } from "../support/expectations.ts";

/** Makes machine code at new addresses, so much of it at once. */
class FakeMaker {
  open = 0;
  made = 0;
  readonly makesCallbacksOutsideOnly?: true;
  readonly #most: number;

  constructor({ most = Infinity, makesCallbacksOutsideOnly = false } = {}) {
    this.#most = most;
    if (makesCallbacksOutsideOnly) this.makesCallbacksOutsideOnly = true;
  }

  callback(): CallbackCode {
    if (this.open >= this.#most) throw new JitError("ERR_TOO_MANY_HANDLES", "no more");
    this.open += 1;
    this.made += 1;
    return { address: 4096 * this.made, close: () => void (this.open -= 1) };
  }
}

function slotsOf(maker: FakeMaker): CallbackSlots {
  return new CallbackSlots(maker, { parameters: [], result: "void" }, () => () => undefined);
}

const nothing = (): undefined => undefined;

describe("the slots of callbacks", () => {
  // The first test: what others give back would be closed before its slots are.
  test("of another signature are closed where the interface has no more, but not below a callback", () => {
    const maker = new FakeMaker({ most: 2 });
    const [slots, others] = [slotsOf(maker), slotsOf(maker)];
    slots.give(slots.take(nothing));
    slots.take(nothing);
    slots.give(slots.take(nothing));
    const outer = beginCallback();
    throwsJitError("ERR_TOO_MANY_HANDLES", () => others.take(nothing));
    endCallback(outer);
    others.take(nothing);
    assert.equal(maker.open, 2);
  });

  test("are used again when 64 others have been given back after them", () => {
    const slots = slotsOf(new FakeMaker());
    const first = slots.take(nothing);
    slots.give(first);
    assert.equal(first.callback, undefined, "whatever calls it now finds nothing");
    for (let index = 0; index < 64; index++) {
      const next = slots.take(nothing);
      assert.notEqual(next, first);
      slots.give(next);
    }
    assert.equal(slots.take(nothing), first);
  });

  test("are used again sooner where the interface has no more", () => {
    const slots = slotsOf(new FakeMaker({ most: 2 }));
    const [first, second] = [slots.take(nothing), slots.take(nothing)];
    throwsJitError("ERR_TOO_MANY_HANDLES", () => slots.take(nothing));
    slots.give(second);
    slots.give(first);
    assert.equal(slots.take(nothing), second, "the oldest");
  });

  test("are made ahead where none can be made in a callback", () => {
    const maker = new FakeMaker({ makesCallbacksOutsideOnly: true });
    const slots = slotsOf(maker);
    const fresh = slotsOf(maker);
    slots.take(nothing);
    const outer = beginCallback();
    try {
      const { made } = maker;
      const taken = new Set(Array.from({ length: 16 }, () => slots.take(nothing)));
      assert.equal(taken.size, 16);
      assert.equal(maker.made, made);
      throwsJitError("ERR_FEATURE_NOT_ENABLED", () => slots.take(nothing));
      throwsJitError("ERR_FEATURE_NOT_ENABLED", () => fresh.take(nothing));
    } finally {
      endCallback(outer);
    }
  });
});
