/**
 * @file The backends that tests run on. `cpu` and `wasm` come with `npm ci` and are always there, `blas` is where this machine has a BLAS; others
 * by `SPFT_TEST_BACKENDS=cpu,cuda`: `cuda` on a GPU or the emulator, `tensorflow` where scripts/tensorflow/build.sh has made it.
 */
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { probeBlas } from '@spft/backend-blas';
import * as tf from '@tensorflow/tfjs';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import { orRequired } from './required.js';

setWasmPaths(`${dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm'))}/`);
tf.env().set('IS_TEST', true);

/** Why tests do not run on `blas` here, or null where they do. */
export function blasMissing(): string | null {
  const probe = probeBlas();
  return orRequired('blas', probe.available ? null : `${probe.reason}; ${probe.hint}`);
}

/** A title for tests that need a BLAS: where there is none it says so, as they are skipped then. */
export function blasTitle(title: string): string {
  const missing = blasMissing();
  return missing ? `${title} (skipped without a BLAS: ${missing})` : title;
}

/** Why tests do not run on `tensorflow` here, or null where they do. */
export async function tensorflowMissing(): Promise<string | null> {
  const { chooseBackend } = await import('@spft/backends');
  const problem = await chooseBackend('tensorflow').then(
    () => null,
    (error: Error) => error.message,
  );
  return orRequired('tensorflow', problem);
}

export const TEST_BACKENDS = (process.env.SPFT_TEST_BACKENDS ?? (blasMissing() ? 'cpu,wasm' : 'cpu,wasm,blas')).split(
  ',',
);

/** Makes `name` the active backend; throws where it cannot start, so that no matrix row is skipped in silence. */
export async function useBackend(name: string): Promise<void> {
  // On this machine's GPU, else on the emulator.
  if (name === 'cuda') await import('../../packages/backend-cuda/test/emulator.js');
  if (name === 'tensorflow') {
    const missing = await tensorflowMissing();
    if (missing) throw new Error(`tests: ${missing}`);
  }
  if (!(await tf.setBackend(name))) throw new Error(`tests: backend '${name}' did not start`);
  await tf.ready();
}
