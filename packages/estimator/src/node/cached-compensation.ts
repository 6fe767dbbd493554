/**
 * @file A cache of the maps of `compensation_rank`, as `cachedPredictors` is one of predictors: fitted once for a model, data, choice of channels and rank, then
 * found. A file for each sparsity, to which layers are added as runs and plans ask for them. What is damaged is fitted anew, and where nothing can be
 * written the run goes on without.
 */
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { makeDirectory, openSafetensors, writeSafetensors } from '@spft/safetensors/node';
import { disposeCompensation, disposeCompensationTable, fitCompensationLevels } from '../compensation.js';
import type { CompensationRequest, CompensationSource } from '../compensation-request.js';
import {
  type CompensationFacts,
  compensationMetadata,
  compensationTensors,
  readCompensation,
} from '../compensation-tensors.js';
import { fingerprintOf } from '../fingerprint.js';
import type { MlpCompensation } from '../types.js';

type Maps = Map<number, MlpCompensation>;

/**
 * A source for `getSpftModel`'s `compensation`.
 * @param place of the maps: a directory for what was asked. Data that do not say what they are (`CalibrationData.data`) are not kept.
 * @param notify told what was fitted anew, or why nothing is kept.
 */
export function cachedCompensation(
  place: (request: CompensationRequest) => string,
  notify: (message: string) => void = () => undefined,
): CompensationSource {
  return async (request) => {
    const { host, chooser, rank, wanted, data, onProgress } = request;
    const dir = place(request);
    const levels = new Set([...wanted.values()].flat());
    const { weights } = await fingerprintOf(host);
    const factsOf = (level: number): CompensationFacts => ({
      ...{ rank: String(rank), sparsity: String(level), choice: request.choice, data: data.data ?? '', model: weights },
    });
    const isKept = data.data !== undefined;
    const table = new Map<number, Maps>();
    try {
      for (const level of levels) {
        const layers = layersAt(wanted, level);
        table.set(level, isKept ? await found(request, layers, pathOf(dir, level), factsOf(level), notify) : new Map());
      }
      const missing = new Map(
        [...wanted].map(([layer, ofLayer]) => [layer, ofLayer.filter((level) => !table.get(level)!.has(layer))]),
      );
      if (![...missing.values()].some(({ length }) => length > 0)) return table;
      const fitted = await fitCompensationLevels(host, chooser, missing, data, {
        rank,
        onProgress: (done, total) => onProgress?.({ done, total, name: 'compensation' }),
      });
      for (const [level, maps] of fitted) for (const [layer, map] of maps) table.get(level)!.set(layer, map);
      if (isKept) await keep(request, dir, [...fitted.keys()], table, factsOf, notify);
      return table;
    } catch (error) {
      disposeCompensationTable(table);
      throw error;
    }
  };
}

const pathOf = (dir: string, level: number) => join(dir, `mlp-${level}.safetensors`);

const layersAt = (wanted: CompensationRequest['wanted'], level: number) =>
  [...wanted].filter(([, levels]) => levels.includes(level)).map(([layer]) => layer);

async function found(
  { host, rank }: CompensationRequest,
  layers: readonly number[],
  path: string,
  facts: CompensationFacts,
  notify: (message: string) => void,
): Promise<Maps> {
  if (!(await isThere(path))) return new Map();
  try {
    const file = await openSafetensors(path);
    try {
      return await readCompensation(file, host, { rank, layers }, facts, path);
    } finally {
      await file.close();
    }
  } catch (error) {
    if (!String((error as { code?: unknown }).code).startsWith('SPFT_')) throw error;
    notify(`maps of compensation_rank are fitted anew: ${(error as Error).message}`);
    await rm(path, { force: true }).catch(() => undefined);
    return new Map();
  }
}

/** Each file whole, with the layers that it had before. */
async function keep(
  request: CompensationRequest,
  dir: string,
  levels: readonly number[],
  table: ReadonlyMap<number, Maps>,
  factsOf: (level: number) => CompensationFacts,
  notify: (message: string) => void,
): Promise<void> {
  const all = Array.from({ length: request.host.layerCount }, (_, layer) => layer);
  try {
    await makeDirectory(dir);
    for (const level of levels) {
      const path = pathOf(dir, level);
      const ours = table.get(level)!;
      const others = all.filter((layer) => !ours.has(layer));
      const before = await found(request, others, path, factsOf(level), notify);
      try {
        const tensors = await compensationTensors(new Map([...before, ...ours]));
        await writeSafetensors(path, tensors, compensationMetadata(factsOf(level)));
      } finally {
        disposeCompensation(before);
      }
    }
  } catch (error) {
    notify(`maps of compensation_rank are not kept for the next run: ${(error as Error).message}`);
  }
}

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
