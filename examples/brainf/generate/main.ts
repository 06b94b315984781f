// Writes the programs that are too tedious to write by hand: node dist/examples/brainf/generate/main.js
import { writeFileSync } from "node:fs";
import { shippedProgramPath } from "../programs.ts";
import { mandelbrotProgram } from "./mandelbrot.ts";
import { primesProgram } from "./primes.ts";

writeFileSync(shippedProgramPath("mandelbrot"), mandelbrotProgram());
writeFileSync(shippedProgramPath("primes"), primesProgram());
