/** From the tree of a filter to vector code. */
import type { Condition, NumberExpression, Query } from "./expression.ts";
import { lowerRemainder, lowerRemainderByConstant } from "./remainder.ts";
import type { Abilities, Value, VectorCode } from "./vector-code.ts";
import { VectorBuilder } from "./vector-code.ts";

const ARITHMETIC = { "+": "add", "-": "subtract", "*": "multiply", "/": "divide" } as const;

/** The number, where no row has a say in it. */
function constantOf(expression: NumberExpression): number | undefined {
  switch (expression.kind) {
    case "number":
      return expression.value;
    case "column":
      return undefined;
    case "negation": {
      const operand = constantOf(expression.operand);
      return operand === undefined ? undefined : -operand;
    }
    case "arithmetic": {
      const left = constantOf(expression.left);
      const right = constantOf(expression.right);
      if (left === undefined || right === undefined) return undefined;
      switch (expression.operator) {
        case "+":
          return left + right;
        case "-":
          return left - right;
        case "*":
          return left * right;
        case "/":
          return left / right;
        case "%":
          return left % right;
      }
    }
  }
}

function lowerNumber(builder: VectorBuilder, expression: NumberExpression): Value {
  const constant = constantOf(expression);
  if (constant !== undefined) return builder.constant(constant);
  switch (expression.kind) {
    case "number":
      return builder.constant(expression.value);
    case "column":
      return builder.add({ kind: "column", index: expression.index });
    case "negation":
      return builder.unary("negate", lowerNumber(builder, expression.operand));
    case "arithmetic": {
      const left = lowerNumber(builder, expression.left);
      if (expression.operator === "%") {
        const divisor = constantOf(expression.right);
        return divisor === undefined
          ? lowerRemainder(builder, left, lowerNumber(builder, expression.right))
          : lowerRemainderByConstant(builder, left, divisor);
      }
      return builder.binary(ARITHMETIC[expression.operator], left, lowerNumber(builder, expression.right));
    }
  }
}

function lowerCondition(builder: VectorBuilder, condition: Condition): Value {
  switch (condition.kind) {
    case "comparison":
      return builder.compare(
        condition.operator,
        lowerNumber(builder, condition.left),
        lowerNumber(builder, condition.right),
      );
    case "not":
      return builder.unary("mask-not", lowerCondition(builder, condition.operand));
    case "and":
    case "or":
      // Nothing in a filter has an effect or throws, so that both sides may be computed for every row.
      return builder.binary(
        condition.kind === "and" ? "mask-and" : "mask-or",
        lowerCondition(builder, condition.left),
        lowerCondition(builder, condition.right),
      );
  }
}

export function toVectorCode({ condition }: Query, abilities: Abilities): VectorCode {
  const builder = new VectorBuilder(abilities);
  return builder.finish(lowerCondition(builder, condition));
}
