/**
 * @file Compiles `assembly/` (AssemblyScript) to WebAssembly. `npm run assembly` writes it, in base64, to src/threads/assembly.generated.ts,
 * which is checked in: building and using the package needs no compiler. A test compiles again and compares.
 */
import { writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import asc from 'assemblyscript/asc';

const here = dirname(fileURLToPath(import.meta.url));

/** @returns {Promise<string>} the text of assembly.generated.ts. */
export async function compile() {
  let binary;
  const { error, stderr } = await asc.main(
    // No runtime, data or imports but the memory: the module shares the memory of the backend.
    [
      'index.ts',
      '-o',
      'out.wasm',
      '--baseDir',
      here,
      ...'--runtime stub --importMemory --noExportMemory --noAssert --sharedMemory --initialMemory 1 --maximumMemory 65536'.split(
        ' ',
      ),
    ].concat('--enable simd --enable threads -O3 --converge'.split(' ')),
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

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  writeFileSync(`${here}/../src/threads/assembly.generated.ts`, await compile());
}
