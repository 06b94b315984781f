/**
 * JavaScript's `%` on vectors. No processor here has an instruction for it, and V8 calls a function of C for each number.
 *
 * With x and y for the magnitudes of dividend and divisor, x % y is x - y * trunc(x / y), but a quotient that is rounded
 * can be one too large or too small, and a product that is rounded is wrong altogether. So the code below
 *   1. computes a quotient whose whole part is known to be off by one at most, and to which side,
 *   2. takes the product off without a rounding: in one step where the processor has fused arithmetic, else by keeping
 *      to quotients whose product has a place in 53 bits,
 *   3. puts right what was off by one, which is exact because the true remainder is a double,
 *   4. gives the remainder the sign of the dividend, to zeros too.
 * Lanes that 2 does not hold for are marked as doubtful, and plain JavaScript computes them. NaN stays NaN in all of it,
 * and is not doubtful.
 */
import type { Value, VectorBuilder } from "./vector-code.ts";

/** The bits of a double's significand. */
const PRECISION = 53;
/** Below this the whole part of a quotient is off by one at most, even if the quotient was rounded a few times. */
const QUOTIENT_LIMIT = 2 ** 50;
/** Divisors within these bounds have reciprocals that are as precise as any number. */
const LEAST_DIVISOR = 2 ** -500;
const GREATEST_DIVISOR = 2 ** 500;
/** A divisor with more significant bits leaves too few quotients whose product is exact without fused arithmetic. */
const MAX_SHORT_BITS = 32;

/** How many bits the significand takes without the zeros at its end: 3 for 7, 14 and 0.875. `value` is normal. */
export function significantBits(value: number): number {
  const bits = new BigUint64Array(Float64Array.of(value).buffer)[0] ?? 0n;
  let significand = (bits & 0xf_ffff_ffff_ffffn) | 0x10_0000_0000_0000n;
  let zeros = 0;
  for (; (significand & 1n) === 0n; significand >>= 1n) zeros++;
  return PRECISION - zeros;
}

/** Gives the magnitude the sign of the other number. */
function withSignOf(builder: VectorBuilder, magnitude: Value, signed: Value): Value {
  const sign = builder.binary("bit-and", signed, builder.constant(-0));
  return builder.binary("bit-or", magnitude, sign);
}

function minusProduct(builder: VectorBuilder, minuend: Value, left: Value, right: Value): Value {
  return builder.abilities.fused
    ? builder.add({ kind: "subtract-product", operands: [left, right, minuend] })
    : builder.binary("subtract", minuend, builder.binary("multiply", left, right));
}

/**
 * By a number of few bits, such as 7: a multiplication by the reciprocal, which is much quicker than a division. The
 * reciprocal is a little too small on purpose, by more than the rounding of the product can make up for. So the whole
 * part of the quotient is right or one too small, and the remainder is right or one divisor too large.
 */
function byReciprocal(builder: VectorBuilder, dividend: Value, divisor: number, limit: number): Value {
  const magnitude = builder.unary("absolute", dividend);
  const reciprocal = builder.constant((1 / divisor) * (1 - 2 ** -51));
  const quotient = builder.truncate(builder.binary("multiply", magnitude, reciprocal));
  builder.doubt(builder.compare(">=", quotient, builder.constant(limit)));
  const step = builder.constant(divisor);
  const remainder = minusProduct(builder, magnitude, quotient, step);
  return withSignOf(builder, builder.subtractOnce(remainder, step), dividend);
}

/** `dividend % divisor`, for a divisor that is the same in all rows. */
export function lowerRemainderByConstant(builder: VectorBuilder, dividend: Value, divisor: number): Value {
  if (divisor === 0 || Number.isNaN(divisor)) return builder.constant(NaN);
  // The sign of the divisor does not matter.
  const magnitude = Math.abs(divisor);
  if (magnitude >= LEAST_DIVISOR && magnitude <= GREATEST_DIVISOR) {
    const bits = significantBits(magnitude);
    if (builder.abilities.fused && bits < PRECISION) {
      return byReciprocal(builder, dividend, magnitude, QUOTIENT_LIMIT);
    }
    if (bits <= MAX_SHORT_BITS) {
      const limit = Math.min(QUOTIENT_LIMIT, 2 ** (PRECISION - bits));
      return byReciprocal(builder, dividend, magnitude, limit);
    }
  }
  return lowerRemainder(builder, dividend, builder.constant(magnitude));
}

/**
 * `dividend % divisor`, for any divisor: with a division. A quotient that is rounded to the nearest double never falls
 * below a whole number that it was above, so that its whole part is right or one too large, and the remainder right or
 * negative.
 */
export function lowerRemainder(builder: VectorBuilder, dividend: Value, divisor: Value): Value {
  const magnitude = builder.unary("absolute", dividend);
  const step = builder.unary("absolute", divisor);
  const quotient = builder.truncate(builder.binary("divide", magnitude, step));
  // A divisor of zero makes NaN of everything, as it should.
  const isDivisible = builder.compare("!=", step, builder.constant(0));
  const isLarge = builder.compare(">=", quotient, builder.constant(QUOTIENT_LIMIT));
  builder.doubt(builder.binary("mask-and", isLarge, isDivisible));
  // 0 * Infinity would make NaN of what stays as it is.
  builder.doubt(builder.compare("==", step, builder.constant(Infinity)));
  if (!builder.abilities.fused) {
    // Products of whole numbers up to 2**53 are exact.
    const product = builder.binary("multiply", quotient, step);
    builder.doubt(builder.compare(">", product, builder.constant(2 ** PRECISION)));
    const isWhole = builder.compare("==", builder.truncate(step), step);
    const isQuotientZero = builder.compare("==", quotient, builder.constant(0));
    const isExact = builder.binary("mask-or", isWhole, isQuotientZero);
    builder.doubt(builder.binary("mask-and", builder.unary("mask-not", isExact), isDivisible));
  }
  const remainder = minusProduct(builder, magnitude, quotient, step);
  const isNegative = builder.compare("<", remainder, builder.constant(0));
  return withSignOf(
    builder,
    builder.add({ kind: "add-where", operands: [remainder, step, isNegative] }),
    dividend,
  );
}
