/**
 * @file Builds the page to `dist/`: a folder of static files for any host. `buildPage(DIR)` builds it elsewhere.
 */
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { REPORT_STYLE } from '@spft/trainer';
import { build } from 'esbuild';

const here = (...path) => fileURLToPath(new URL(path.join('/'), import.meta.url));
const wasm = dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm'));

/** @param {string} out directory, replaced. */
export async function buildPage(out) {
  await rm(out, { recursive: true, force: true });
  await mkdir(join(out, 'wasm'), { recursive: true });
  const common = {
    outdir: out,
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    legalComments: 'linked',
    logLevel: 'warning',
  };
  // Apart, as code that both share would bring tfjs to the page too.
  await build({ ...common, entryPoints: { main: here('src/page/main.ts') } });
  const worker = { worker: here('src/worker/main.ts') };
  await build({ ...common, entryPoints: worker, splitting: true, chunkNames: 'chunk-[hash]' });
  await cp(here('src/page/index.html'), join(out, 'index.html'));
  await writeFile(join(out, 'style.css'), `${REPORT_STYLE}\n${await readFile(here('src/page/style.css'), 'utf8')}`);
  for (const name of ['tfjs-backend-wasm.wasm', 'tfjs-backend-wasm-simd.wasm'])
    await cp(join(wasm, name), join(out, 'wasm', name));
  await cp(here('../quickstart/base'), join(out, 'base'), { recursive: true });
  await mkdir(join(out, 'data'));
  await cp(here('../quickstart/data/train.json'), join(out, 'data', 'train.json'));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildPage(here('dist'));
