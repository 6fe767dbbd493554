/**
 * @file Predictors on disk, in the hub layout: a directory with `model.safetensors` and `config.json`. Built where they are missing, so
 * that this happens once a model and rank. Upstream's own `.pt` files are read too (torch-predictors.ts), and never written.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import type { SafetensorsFile } from '@spft/safetensors';
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import {
  MODEL_FILE,
  openSafetensors,
  openSafetensorsModel,
  writeFileAtomically,
  writeSafetensors,
} from '@spft/safetensors/node';
import type { CalibrationData } from '../calibration.js';
import { PredictorError } from '../errors.js';
import { LOW_RANK_OPTIONS } from '../low-rank.js';
import { makePredictors, type PredictorSource } from '../make-predictors.js';
import { missingProjections } from '../predictor-check.js';
import { factorsByProjection } from '../predictor-names.js';
import { type PredictorDtype, predictorTensors, readPredictors } from '../predictor-tensors.js';
import {
  BUILD_OPTIONS,
  type BuildOptions,
  type PredictedLayers,
  Predictors,
  predictedProjections,
} from '../predictors.js';
import type { PredictorKind } from '../registry.js';
import type { SparsityHost } from '../types.js';
import { isTorchFile, openTorchPredictors } from './torch-predictors.js';

/** Name of the file that says what a predictor directory holds. */
export const PREDICTOR_CONFIG_FILE = 'config.json';

/**
 * Writes `dir/model.safetensors` and `dir/config.json`, each atomically; other keys of a `config.json` that is there stay.
 * @throws PredictorError when `dir` holds weights that are no predictors, such as a model's; SafetensorsError when the disk does not take
 * the files.
 */
export async function savePredictors(
  predictors: Predictors,
  dir: string,
  options: { readonly dtype?: PredictorDtype } = {},
): Promise<void> {
  assertKnownOptions('savePredictors', options, { dtype: true });
  const { dtype = 'BF16' } = options;
  await assertReplaceable(dir);
  const { tensors, metadata } = await predictorTensors(predictors, dtype);
  // The tensors last: predictors are there when this file is, and it says all that reading them needs.
  const path = join(dir, PREDICTOR_CONFIG_FILE);
  const { rank, mode, calibration } = predictors;
  const config = {
    ...(await readJsonObject(path)),
    predictor_rank: rank,
    ...(calibration && {
      predictor_mode: mode,
      calibration_tokens: calibration.tokens,
      calibration_data: calibration.data,
    }),
  };
  await writeFileAtomically(path, (handle) => handle.writeFile(`${JSON.stringify(config, null, 2)}\n`));
  await writeSafetensors(join(dir, MODEL_FILE), tensors, metadata);
}

/**
 * Reads predictors from a directory or a file, checked against the model.
 * @param path directory with `model.safetensors` (or shards), or else with upstream's `*.pt`, at whatever depth; or a file.
 * @throws PredictorError when there are none, or they are of another model, rank or shape; SafetensorsError when a file is broken.
 */
export async function loadPredictors(
  host: SparsityHost,
  path: string,
  options: { readonly rank?: number; readonly calibrated?: boolean } = {},
): Promise<Predictors> {
  assertKnownOptions('loadPredictors', options, { rank: true, calibrated: true });
  const file = await open(path);
  if (file === null) {
    throw new PredictorError(
      `${path}: holds no predictors; build them with spft predictor build, or loadOrBuildPredictors()`,
    );
  }
  try {
    return await readPredictors(file, host, { ...options, source: path });
  } finally {
    await file.close();
  }
}

export interface LoadOrBuildOptions extends BuildOptions {
  readonly dir: string;
  readonly rank: number;
  /** Layers that need predictors; default: all. */
  readonly layers?: PredictedLayers;
  readonly dtype?: PredictorDtype;
  /** Default: from the weights alone. */
  readonly kind?: PredictorKind;
  /** Data for calibrated ones; needed where they are not there yet. */
  readonly calibration?: CalibrationData;
}

const LOAD_OR_BUILD: OptionNames<LoadOrBuildOptions> = {
  ...BUILD_OPTIONS,
  ...{ dir: true, rank: true, layers: true, dtype: true, kind: true, calibration: true },
};

/**
 * The predictors in `dir`; what is missing there is built and saved. What is returned has always been through the file, so the run that
 * builds them computes with the same (rounded) numbers as every later one.
 * @throws PredictorError when `dir` holds those of another model or rank: nothing is overwritten.
 */
export async function loadOrBuildPredictors(host: SparsityHost, given: LoadOrBuildOptions): Promise<Predictors> {
  assertKnownOptions('loadOrBuildPredictors', given, LOAD_OR_BUILD);
  const { dir, rank, layers = everyLayer(host), dtype, kind = FROM_WEIGHTS, calibration, ...build } = given;
  const file = await open(dir);
  await file?.close();
  const { calibrated, norms } = kind;
  const found = file === null ? null : await loadPredictors(host, dir, { rank, calibrated });
  if (found && missingProjections(found, layers, { norms }).length === 0) return found;
  if (found && (await stat(dir)).isFile()) {
    const missing = missingProjections(found, layers, { norms });
    found.dispose();
    throw new PredictorError(`${dir}: lacks ${missing[0]}; name a directory to have it built there`);
  }
  try {
    const { onProgress, ...options } = build;
    // What is fitted to data is fitted to the same data in every layer, so all of it is made anew.
    const wanted = found && !calibrated ? remaining(layers, found) : layers;
    const built = await makePredictors({ host, layers: wanted, rank, kind, calibration, onProgress }, options);
    try {
      const all = calibrated
        ? built
        : new Predictors(rank, new Map([...(found?.projections ?? []), ...built.projections]), built.fingerprint);
      await savePredictors(all, dir, { dtype });
    } finally {
      built.dispose();
    }
  } finally {
    found?.dispose();
  }
  return loadPredictors(host, dir, { rank, calibrated });
}

const FROM_WEIGHTS: PredictorKind = { calibrated: false, norms: false };

/** A source for `getSpftModel`: predictors live in `dir`, and are built there when missing. */
export function predictorDirectory(
  dir: string,
  options: Omit<LoadOrBuildOptions, 'dir' | 'rank' | 'layers' | 'kind' | 'calibration' | 'onProgress'> = {},
): PredictorSource {
  assertKnownOptions('predictorDirectory', options, { ...LOW_RANK_OPTIONS, dtype: true });
  return ({ host, layers, rank, kind, calibration, onProgress }) =>
    loadOrBuildPredictors(host, { ...options, dir, layers, rank, kind, calibration, onProgress });
}

function everyLayer({ layerCount }: SparsityHost): PredictedLayers {
  return new Map(Array.from({ length: layerCount }, (_, layer) => [layer, { mlp: true, selfAttn: true }]));
}

/** A model's own directory has a file of the same name: its weights must not be overwritten by predictors. */
async function assertReplaceable(dir: string): Promise<void> {
  const file = await open(dir);
  if (file === null) return;
  const { names } = file;
  await file.close();
  if (factorsByProjection(names, dir).size === 0 && !names.every((name) => name.endsWith('.rms'))) {
    throw new PredictorError(
      `${dir}: holds weights that are no predictors (${names[0] ?? 'an empty file'}); name another directory`,
    );
  }
}

/** The modules of `layers` of which `found` lacks a projection. */
function remaining(layers: PredictedLayers, found: Predictors): PredictedLayers {
  const lacks = (layer: number, part: { mlp: boolean; selfAttn: boolean }) =>
    predictedProjections(new Map([[layer, part]])).some((name) => !found.projections.has(name));
  return new Map(
    [...layers].map(([layer, { mlp, selfAttn }]) => [
      layer,
      {
        mlp: Boolean(mlp) && lacks(layer, { mlp: true, selfAttn: false }),
        selfAttn: Boolean(selfAttn) && lacks(layer, { mlp: false, selfAttn: true }),
      },
    ]),
  );
}

/** The tensors of a directory or file; null where there is nothing yet. Safetensors come before files of torch.save. */
async function open(path: string): Promise<SafetensorsFile | null> {
  if (extname(path) === '.bin') throw pickled(path, path);
  const info = await stat(path).catch(absent);
  if (info === null) return null;
  if (!info.isDirectory()) {
    return isTorchFile(path) ? openTorchPredictors(dirname(path), [basename(path)]) : openSafetensors(path);
  }
  const names = await readdir(path, { recursive: true });
  if (names.some((name) => name === MODEL_FILE || name === `${MODEL_FILE}.index.json`))
    return openSafetensorsModel(path);
  const torch = names.filter(isTorchFile).sort();
  return torch.length === 0 ? null : openTorchPredictors(path, torch);
}

function pickled(path: string, file: string): PredictorError {
  return new PredictorError(
    `${path}: '${file}' is a pickle, which runs code when it is read; weights are only ever read from safetensors. Name another ` +
      'directory and the predictors are built there, or save the tensors with safetensors.torch.save_file under the same names',
  );
}

async function readJsonObject(path: string): Promise<Record<string, unknown>> {
  const text = await readFile(path, 'utf8').catch(absent);
  if (text === null) return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new PredictorError(`${path}: is no valid JSON (${(cause as Error).message}); mend or remove it`, { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new PredictorError(`${path}: should hold a JSON object; mend or remove it`);
  }
  return value as Record<string, unknown>;
}

/** For `catch`: null where a file is not there. */
function absent(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT') return null;
  throw error;
}
