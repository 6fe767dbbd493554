/**
 * @file `npm run parity -- DIR`: every golden value under a directory against ours, on the backend that `SPFT_BACKEND` names (default cpu).
 *
 * Ends with `N passed, M failed`. A value that no check has looked at is a failure too, so that a run cannot pass by forgetting.
 */
import { relative } from 'node:path';
import { fromPretrained } from '@spft/models/node';
import * as tf from '@tensorflow/tfjs';
import { checkAdapter } from './check-adapter.js';
import { checkDense } from './check-dense.js';
import { checkSparse } from './check-sparse.js';
import { Checks, precisionOf } from './checks.js';
import { findModels, GoldenError, type GoldenFile, type GoldenModel } from './golden.js';

async function checkModel(golden: GoldenModel, checks: Checks): Promise<GoldenFile[]> {
  const basePrecision = process.env.SPFT_BASE_PRECISION === 'fp8' ? 'fp8' : 'bf16';
  const model = await fromPretrained(golden.model, { basePrecision });
  const [dense, batch] = await checkDense(golden, model, checks);
  const files = [dense];
  for (const { name, dir } of golden.adapters) {
    files.push(...(await checkAdapter(`${golden.name} ${name}`, dir, model, batch, checks)));
  }
  files.push(...(await checkSparse(golden, model, checks)));
  model.dispose();
  return files;
}

/**
 * @param args the directory.
 * @param print where lines go.
 * @returns the exit code: 0 when every check passed, 1 when one failed, none ran, or the directory cannot be used.
 */
export async function runParity(args: readonly string[], print: (line: string) => void): Promise<number> {
  const [dir, ...rest] = args;
  const checks = new Checks(print, precisionOf(tf.getBackend(), process.env));
  try {
    if (dir === undefined || rest.length > 0)
      throw new GoldenError('usage: npm run parity -- DIR, e.g. ../shared/golden/seed0');
    for (const golden of await findModels(dir)) {
      const before = tf.memory().numTensors;
      for (const file of await checkModel(golden, checks)) {
        const { unseen } = file;
        const forgotten = unseen.length === 0 ? null : `${unseen.length} were not, first ${unseen[0]}`;
        checks.holds(`${relative(dir, file.path)} all values compared`, forgotten);
      }
      const left = tf.memory().numTensors - before;
      checks.holds(`${golden.name} leaves no tensors behind`, left === 0 ? null : `${left} are left`);
    }
  } catch (error) {
    if (typeof (error as { code?: unknown }).code !== 'string') throw error;
    print(`error: ${(error as Error).message}`);
    checks.failed++;
  }
  print(`${checks.passed} passed, ${checks.failed} failed`);
  return checks.failed === 0 && checks.passed > 0 ? 0 : 1;
}
