/** Allocates, writes and calls, and prints the result, or the error that stood in the way. */
import { JitAllocator, toFunction } from "../../src/index.ts";
import { ADD } from "../support/native-code.ts";

try {
  using allocator = new JitAllocator();
  const span = allocator.alloc(ADD.length);
  span.write(0, ADD);
  const add = toFunction(span, { parameters: ["i32", "i32"], result: "i32" });
  let sum = 0;
  for (let count = 0; count < 1000; count++) sum = add(sum, 1);
  console.log(sum);
} catch (error) {
  const { name, code, message } = error as Error & { readonly code?: string };
  console.log(name, code, message);
}
