/**
 * @file A cache of predictors: a directory that nobody asked for by name. What is damaged in it is made anew, and where it cannot be written the
 * run goes on without it; of a directory that a user names (`predictorDirectory`), both are errors.
 */
import { constants } from 'node:fs';
import { access, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseSafetensors, SafetensorsError, serializeSafetensors } from '@spft/safetensors';
import { MODEL_FILE, MODEL_INDEX_FILE, makeDirectory } from '@spft/safetensors/node';
import { makePredictors, type PredictorRequest, type PredictorSource } from '../make-predictors.js';
import { missingProjections } from '../predictor-check.js';
import { predictorTensors, readPredictors } from '../predictor-tensors.js';
import type { Predictors } from '../predictors.js';
import { loadOrBuildPredictors, loadPredictors } from './storage.js';

/**
 * A source for `getSpftModel`: predictors live in `dir`, and are built there when missing or damaged.
 * @param notify told what was made anew, or why nothing is kept.
 */
export function cachedPredictors(dir: string, notify: (message: string) => void = () => undefined): PredictorSource {
  return async (request) => {
    const { host, ...asked } = request;
    const { layers, kind } = asked;
    const found = await loadIntact(request, dir, notify);
    if (found && missingProjections(found, layers, { norms: kind?.norms }).length === 0) return found;
    found?.dispose();
    try {
      const refusal = await whyNotWritable(dir);
      if (refusal === null) return await loadOrBuildPredictors(host, { ...asked, dir });
      notify(`predictors are not kept for the next run: ${refusal}`);
    } catch (error) {
      // A full disk shows only when it is written to; then they are made once more.
      if (!isOfTheDisk(error)) throw error;
      notify(`predictors are not kept for the next run: ${error.message}`);
    }
    return inMemory(request);
  };
}

const isOfTheDisk = (error: unknown): error is Error =>
  error instanceof SafetensorsError || (error instanceof Error && 'syscall' in error);

/** Null where there are none, or they are damaged or of another model, which a cache's name rules out: then they are removed. */
async function loadIntact(
  { host, rank, kind }: PredictorRequest,
  dir: string,
  notify: (message: string) => void,
): Promise<Predictors | null> {
  const there = await Promise.all([MODEL_FILE, MODEL_INDEX_FILE].map((name) => exists(join(dir, name))));
  if (!there.includes(true)) return null;
  try {
    return await loadPredictors(host, dir, { rank, calibrated: kind?.calibrated });
  } catch (error) {
    if (!String((error as { code?: unknown }).code).startsWith('SPFT_')) throw error;
    notify(`predictors are made anew: ${(error as Error).message}`);
    await rm(dir, { recursive: true, force: true }).catch(() => undefined);
    return null;
  }
}

/** As they would be after a way through a file, so that the run computes the same with a cache and without. */
async function inMemory(request: PredictorRequest): Promise<Predictors> {
  const { host, rank, kind } = request;
  const built = await makePredictors(request);
  try {
    const { tensors, metadata } = await predictorTensors(built, 'BF16');
    const file = parseSafetensors(serializeSafetensors(tensors, metadata));
    return await readPredictors(file, host, { rank, calibrated: kind?.calibrated });
  } finally {
    built.dispose();
  }
}

async function whyNotWritable(dir: string): Promise<string | null> {
  try {
    await makeDirectory(dir);
    await access(dir, constants.W_OK);
    return (await exists(join(dir, MODEL_FILE))) ? await refusalOf(join(dir, MODEL_FILE)) : null;
  } catch (error) {
    return (error as Error).message;
  }
}

const refusalOf = (path: string): Promise<string | null> =>
  access(path, constants.W_OK).then(
    () => null,
    (error: Error) => error.message,
  );

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
