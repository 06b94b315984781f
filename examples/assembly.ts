// From assembly text to a function: @defasm/core assembles, this library makes it callable.
import { AssemblyState } from "@defasm/core";
import { JitRuntime, toFunction } from "jit-allocator";

const assembly = new AssemblyState({ syntax: { intel: true, prefix: false } });
assembly.compile(`
  mov eax, edi          ; the greatest common divisor of edi and esi, by Euclid
next:
  test esi, esi
  je done
  xor edx, edx
  div esi               ; edx = eax modulo esi
  mov eax, esi
  mov esi, edx
  jmp next
done:
  ret
`);
for (const { message } of assembly.errors) throw new Error(message);

using runtime = new JitRuntime();
const greatestCommonDivisor = toFunction(runtime.add(assembly.head.dump(), { name: "gcd" }), {
  parameters: ["u32", "u32"],
  result: "u32",
});
console.log(greatestCommonDivisor(1071, 462)); // 21
