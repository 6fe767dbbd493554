/** @file Building predictors from the command line. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { matchLayers } from '@spft/config';
import { loadSpftConfig } from '@spft/config/node';
import { type PredictedLayers, predictedProjections } from '@spft/estimator';
import { loadOrBuildPredictors } from '@spft/estimator/node';
import { CliError } from '../errors.js';
import { predictorPlace } from '../steps/attach-sparsity.js';
import { openBackend } from '../steps/open-backend.js';
import { openModel } from '../steps/open-model.js';
import { preparePath, writeJson } from '../terminal/json-file.js';
import type { Output } from '../terminal/output.js';
import { bytes } from '../terminal/table.js';

export interface PredictorRequest {
  readonly modelNameOrPath: string;
  readonly rank?: number;
  readonly sparsity?: string;
  readonly out?: string;
  readonly dtype?: 'bf16' | 'f32';
  readonly revision?: string;
  readonly json?: string;
  readonly backend?: string;
}

export async function runPredictorBuild(request: PredictorRequest, output: Output): Promise<void> {
  const { rank: given, sparsity: file, out, dtype = 'bf16' } = request;
  if (given !== undefined && file !== undefined)
    throw new CliError('--rank and --sparsity both say the rank; give one');
  const sparsity = file === undefined ? null : await loadSpftConfig(file);
  const rank = sparsity === null ? (given ?? 8) : rankOf(sparsity.mode, file!);
  await preparePath(request.json);
  await openBackend(request.backend, output);
  const opened = await openModel(request.modelNameOrPath, output, { revision: request.revision });
  try {
    const layers: PredictedLayers =
      sparsity === null
        ? new Map(Array.from({ length: opened.model.layerCount }, (_, n) => [n, { mlp: true, selfAttn: true }]))
        : matchLayers(sparsity.sparsity, opened.model.layerCount, sparsity.source);
    const nowhere = { predictorPath: null, predictorBasepath: null };
    const dir = out ?? (await predictorPlace(sparsity ?? nowhere, opened, rank, output));
    const status = output.task(`predictors of rank ${rank}`);
    const started = performance.now();
    let built = 0;
    try {
      const options = {
        ...{ dir, rank, layers, dtype: dtype === 'bf16' ? ('BF16' as const) : ('F32' as const) },
        onProgress: ({ done, total, name }: { done: number; total: number; name: string }) => {
          built = total;
          status.update(done / total, name);
        },
      };
      (await loadOrBuildPredictors(opened.model, options)).dispose();
    } catch (error) {
      status.fail();
      throw error;
    }
    const size = await sizeOf(dir);
    const total = predictedProjections(layers).length;
    status.done(`${built} built, ${total - built} were there`);
    const seconds = (performance.now() - started) / 1000;
    output.print(`${dir}: ${bytes(size)}`);
    await writeJson(request.json, { directory: dir, rank, built, reused: total - built, bytes: size, seconds }, output);
  } finally {
    opened.model.dispose();
  }
}

function rankOf(mode: string, file: string): number {
  const rank = /svd_(\d+)/.exec(mode)?.[1];
  if (rank !== undefined) return Number(rank);
  throw new CliError(`${file}: its mode '${mode}' needs no predictors; only svd_<rank> does`);
}

async function sizeOf(dir: string): Promise<number> {
  const place = await stat(dir);
  if (place.isFile()) return place.size;
  const files = (await readdir(dir)).filter((name) => name.endsWith('.safetensors'));
  const sizes = await Promise.all(files.map(async (name) => (await stat(join(dir, name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}
