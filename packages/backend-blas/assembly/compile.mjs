/**
 * @file Compiles `assembly/` (AssemblyScript) to WebAssembly. `npm run assembly` writes it, in base64, to src/threads/assembly.generated.ts,
 * which is checked in: building and using the package needs no compiler. A test compiles again and compares.
 */
import { writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { compileFolder } from '../../sparse-ops/assembly/compile.mjs';

const here = dirname(fileURLToPath(import.meta.url));

/** Threads share the memory. */
export const compile = () =>
  compileFolder(here, '--enable threads --sharedMemory --initialMemory 1 --maximumMemory 65536');

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  writeFileSync(`${here}/../src/threads/assembly.generated.ts`, await compile());
}
