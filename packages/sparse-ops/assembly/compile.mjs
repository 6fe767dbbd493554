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
 * @returns {Promise<string>} the module in base64.
 */
async function base64Of(folder, flags) {
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
  return Buffer.from(binary).toString('base64');
}

const HEAD = '/** @file Made by `npm run assembly` from assembly/; do not edit. */\n\n';

/** @returns {Promise<string>} the text of assembly.generated.ts of a folder that is made once. */
export async function compileFolder(folder, flags = '') {
  return `${HEAD}/** The WebAssembly module in base64. */\nexport const ASSEMBLY =\n  '${await base64Of(folder, flags)}';\n`;
}

/** The memory may be as large as can be addressed, which a module must say whose memory is to be shared among threads (src/kernels/simd/shared-memory.ts). */
const MEMORY = '--initialMemory 1 --maximumMemory 65536';

/** Once with relaxed SIMD, whose products are rounded once, and once without. */
export async function compile() {
  const [plain, relaxed] = [await base64Of(here, MEMORY), await base64Of(here, `${MEMORY} --enable relaxed-simd`)];
  return (
    `${HEAD}/** The WebAssembly module with SIMD, in base64. */\nexport const ASSEMBLY =\n  '${plain}';\n\n` +
    `/** The same with relaxed SIMD. */\nexport const RELAXED_ASSEMBLY =\n  '${relaxed}';\n`
  );
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  writeFileSync(`${here}/../src/kernels/simd/assembly.generated.ts`, await compile());
}
