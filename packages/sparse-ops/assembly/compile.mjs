/**
 * @file Compiles `assembly/` (AssemblyScript) to WebAssembly. `npm run assembly` writes it, in base64, to src/kernels/simd/assembly.generated.ts,
 * which is checked in: building and using the package needs no compiler. A test compiles again and compares.
 */
import { writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import asc from 'assemblyscript/asc';

const here = dirname(fileURLToPath(import.meta.url));

/**
 * @param {string} folder with index.ts.
 * @param {string} flags for what it needs beside SIMD; by default nothing.
 * @returns {Promise<string>} the text of assembly.generated.ts.
 */
export async function compileFolder(folder, flags = '') {
  let binary;
  const { error, stderr } = await asc.main(
    // No runtime, data or imports but the memory: the module shares the backend's, where it must write to nothing that it was not given.
    [
      'index.ts',
      '-o',
      'out.wasm',
      '--baseDir',
      folder,
      ...`--runtime stub --importMemory --noExportMemory --noAssert --enable simd -O3 --converge ${flags}`
        .trim()
        .split(' '),
    ],
    {
      writeFile: (_, content) => {
        binary = content;
      },
    },
  );
  if (error) throw new Error(`assembly: ${error.message}\n${stderr.toString()}`);
  const base64 = Buffer.from(binary).toString('base64');
  return (
    '/** @file Made by `npm run assembly` from assembly/; do not edit. */\n\n' +
    `/** The WebAssembly module in base64. */\nexport const ASSEMBLY =\n  '${base64}';\n`
  );
}

export const compile = () => compileFolder(here);

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  writeFileSync(`${here}/../src/kernels/simd/assembly.generated.ts`, await compile());
}
