/**
 * Runs in a process of its own: calls every public function with every nasty value, in each place and with others.
 * Says on stderr what it is about to do, so that a crash has a name; prints what came of it as JSON.
 */
import { writeSync } from "node:fs";
import * as library from "../../../src/index.ts";
import { Random } from "../../support/random.ts";
import { nastyValues, OWN_ERROR } from "../../support/nasty-values.ts";
import { chainOf, instanceRecipes, makeFixture, moduleRecipes, type Recipe } from "./recipes.ts";

/** How many calls of each function with nasty values in all places at once, beside one in each place. */
const MIXED_CALLS = 80;

const seed = Number(process.env["MISUSE_SEED"] ?? 1);
const random = new Random(seed);
const outcomes = { calls: 0, JitError: 0, TypeError: 0, ownError: 0, success: 0 };
const violations: string[] = [];
const called = new Set<string>();

let fixture = makeFixture();
let values = nastyValues();
let stateBefore = observe();

/** Says it at once, whatever the next call does. A pipe whose reader is slow is full for a while: then again. */
function say(text: string): void {
  for (let left = Buffer.from(text); left.length > 0;) {
    try {
      left = left.subarray(writeSync(2, left));
    } catch (error) {
      if (!(error instanceof Error) || !("code" in error) || error.code !== "EAGAIN") throw error;
    }
  }
}

/** One call, with values by their names; undefined = the right one of the recipe. */
function attempt(name: string, recipe: Recipe, chosen: readonly (string | undefined)[], self?: string): void {
  const label = `${name}(${chosen.map((value) => value ?? "right").join(", ")})${self === undefined ? "" : ` on ${self}`}`;
  say(`${label}\n`);
  called.add(name);
  outcomes.calls++;
  const right = recipe.args(fixture);
  const args = chosen.map((value, index) => (value === undefined ? right[index] : values.byName.get(value)));
  const receiver = self === undefined ? recipe.self?.(fixture) : values.byName.get(self);
  let result: unknown;
  try {
    result = recipe.call(receiver, args);
  } catch (error) {
    if (error === OWN_ERROR) outcomes.ownError++;
    else if (error instanceof library.JitError) outcomes.JitError++;
    else if (error instanceof TypeError) outcomes.TypeError++;
    else
      violations.push(`${label}: ${error instanceof Error ? (error.stack ?? error.message) : typeof error}`);
    // What a constructor or a function of its own object refuses has nothing of the allocator's to change.
    const stateAfter = observe();
    if (stateAfter !== stateBefore) {
      violations.push(`${label}: threw, and changed ${stateBefore} to ${stateAfter}`);
      renew();
    }
    return;
  }
  outcomes.success++;
  const isRight = chosen.every(
    (value, index) => value === undefined || recipe.allows[index]?.(args[index]) === true,
  );
  if (self === undefined && !isRight) violations.push(`${label}: went through`);
  recipe.undo?.(result, args);
  if (observe() !== stateBefore) renew();
}

function observe(): string {
  return `${fixture.observe()}; ${values.observe()}`;
}

function renew(): void {
  fixture.dispose();
  values.dispose();
  fixture = makeFixture();
  values = nastyValues();
  stateBefore = observe();
}

function abuse(name: string, recipe: Recipe): void {
  const names = [...values.byName.keys()];
  const places = recipe.args(fixture).length;
  const none = Array.from({ length: places }, (): string | undefined => undefined);
  for (const value of names) {
    for (let place = 0; place < places; place++) attempt(name, recipe, none.with(place, value));
    attempt(
      name,
      recipe,
      none.map(() => value),
    );
    // As a caller that is bound to the wrong object.
    if (recipe.self !== undefined) attempt(name, recipe, none, value);
  }
  for (let call = 0; call < MIXED_CALLS && places > 1; call++) {
    attempt(
      name,
      recipe,
      none.map(() => (random.chance(0.2) ? undefined : random.pick(names))),
    );
  }
}

/** The public functions, found in the exports themselves, so that a new one cannot be forgotten. */
function publicFunctions(): string[] {
  const found: string[] = [];
  for (const [name, value] of Object.entries(library)) {
    if (name === "VirtMem") {
      found.push(...Object.keys(value).map((key) => `VirtMem.${key}`));
    } else if (typeof value === "function") {
      found.push(name);
      const { prototype } = value as { prototype?: object };
      if (prototype === undefined || prototype instanceof Error) continue;
      for (const key of chainOf(prototype).flatMap(Reflect.ownKeys)) {
        if (key !== "constructor")
          found.push(`${name}.${key === Symbol.dispose ? "dispose@@" : String(key)}`);
      }
    }
  }
  return found;
}

const recipes = { ...moduleRecipes, ...instanceRecipes };
for (const name of publicFunctions()) {
  const recipe = recipes[name];
  if (recipe === undefined) violations.push(`${name}: there is no recipe for it in recipes.ts`);
}
for (const [name, recipe] of Object.entries(recipes)) abuse(name, recipe);
renew();
console.log(
  JSON.stringify({
    outcomes,
    violations: violations.slice(0, 40),
    violationCount: violations.length,
    called: [...called],
  }),
);
