/**
 * @file The backends that tests run on. `cpu` and `wasm` come with `npm ci` and are always there; others by `SPFT_TEST_BACKENDS=cpu,cuda`.
 */
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';

setWasmPaths(`${dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm'))}/`);
tf.env().set('IS_TEST', true);

export const TEST_BACKENDS = (process.env.SPFT_TEST_BACKENDS ?? 'cpu,wasm').split(',');

/** Makes `name` the active backend; throws where it cannot start, so that no matrix row is skipped in silence. */
export async function useBackend(name: string): Promise<void> {
  // On this machine's GPU, else on the emulator.
  if (name === 'cuda') await import('../../packages/backend-cuda/test/cuda.js');
  if (!(await tf.setBackend(name))) throw new Error(`tests: backend '${name}' did not start`);
  await tf.ready();
}
