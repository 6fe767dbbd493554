/**
 * @file Compiles the schemas of `src/json-schema.ts` to functions (ajv's standalone code), so that configs are checked where code may not be made
 * at run time, as in a page under a content security policy without `unsafe-eval`, and ajv itself need not be loaded. `npm run validators -w
 * packages/config` writes them to src/validators.generated.ts, which is checked in; a test compares.
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Ajv } from 'ajv';
import standaloneCode from 'ajv/dist/standalone/index.js';
import { build } from 'esbuild';

const here = fileURLToPath(new URL('.', import.meta.url));

/** The schemas as the sources define them now. */
async function schemas() {
  const { outputFiles } = await build({
    entryPoints: [`${here}../src/json-schema.ts`],
    bundle: true,
    write: false,
    format: 'esm',
    logLevel: 'silent',
  });
  const { SCHEMAS } = await import(
    `data:text/javascript;base64,${Buffer.from(outputFiles[0].text).toString('base64')}`
  );
  return SCHEMAS;
}

/** @returns what src/validators.generated.ts must be. */
export async function compile() {
  const ajv = new Ajv({
    allErrors: true,
    verbose: true,
    allowUnionTypes: true,
    code: { esm: true, source: true, lines: true },
  });
  const names = {};
  for (const [name, schema] of Object.entries(await schemas())) {
    ajv.addSchema(schema, name);
    names[`validate_${name.replaceAll('-', '_')}`] = name;
  }
  const code = standaloneCode.default(ajv, names);
  if (/\brequire\(|\bimport\b/.test(code)) throw new Error('the compiled validators need a part of ajv at run time');
  return `// @ts-nocheck\n// Compiled from json-schema.ts by \`npm run validators -w packages/config\`; not written by hand.\n/* biome-ignore-all lint: compiled */\n${code}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(`${here}../src/validators.generated.ts`, await compile());
}
