/** @file Sparsity on a model: the config as files and flags say it, its predictors found or built, and what comes of it. */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { SpftConfig, TrainConfig } from '@spft/config';
import { loadSpftConfig } from '@spft/config/node';
import {
  assertKnownMode,
  type CalibrationData,
  getSpftModel,
  type ShareScores,
  type SparsityAttachable,
  type SpftModel,
  denseTokens as tokensDense,
} from '@spft/estimator';
import { cachedCompensation, cachedPredictors, predictorDirectory } from '@spft/estimator/node';
import { assertKnownOptions } from '@spft/safetensors/internals';
import { calibrationData, type DenseTokens } from '@spft/trainer';
import type { Output } from '../terminal/output.js';
import { table } from '../terminal/table.js';
import { numbersName } from './frozen-base.js';
import { locatePredictors, locateSparsity } from './locate-repo.js';
import type { RunSamples } from './open-data.js';
import { type BaseModel, locateModel, shortName } from './open-model.js';
import { sparsityNotes } from './sparsity-notes.js';
import { requireWritable } from './writable.js';

/** Where predictors are kept that no config has a place for. */
export function predictorCache(env: Readonly<Record<string, string | undefined>>): string {
  return env.SPFT_PREDICTORS || join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'spft', 'predictors');
}

/**
 * The sparsity of a run: the file of the key `spft`, with the `spft_` keys; null for a dense run.
 * @param flags keys that were given as flags: they win over the file.
 * @param output with it, the name may be a repository's on the hub, whose download is shown.
 * @throws ConfigError with every problem; EstimatorError when no estimator claims the mode; HubError where it names a repository that the hub
 * does not give.
 */
export async function readSparsity(
  train: TrainConfig,
  flags: Iterable<string> = [],
  hubMode?: string,
  output?: Output,
): Promise<SpftConfig | null> {
  if (train.spft === null) return null;
  const path = output ? await locateSparsity(train.spft, output) : train.spft;
  const config = await loadSpftConfig(path, { train, flags, hubMode });
  assertKnownMode(config.mode);
  for (const note of sparsityNotes(config)) output?.warn(note);
  return config;
}

/** Of what is made from the weights that are computed with: those of a form have a place of their own. */
export function placeOf({ name, fingerprint, model }: Pick<BaseModel, 'name' | 'fingerprint' | 'model'>): string {
  const numbers = numbersName(model);
  return `${shortName(name)}-${fingerprint.slice(0, 12)}${numbers === null ? '' : `-${numbers}`}`;
}

/** Where the predictors of a model for a config lie, or will be built: beside a hub layout, below its base path, or in the cache. */
export async function predictorPlace(
  config: Pick<SpftConfig, 'predictorPath' | 'predictorBasepath'>,
  opened: BaseModel,
  rank: number,
  output: Output,
  calibrated: { readonly mode: string; readonly data?: string; readonly tokens?: string } | null = null,
): Promise<string> {
  if (calibrated) assertKnownOptions('predictorPlace', calibrated, { mode: true, data: true, tokens: true });
  const { predictorPath, predictorBasepath: base } = config;
  if (predictorPath !== null) return existsSync(predictorPath) ? predictorPath : locateModel(predictorPath, output);
  const name = shortName(opened.name);
  // Two models of one name are no conflict where we choose the place.
  if (base === null) {
    // Nor are two datasets, or two templates around one.
    const { mode = '', data, tokens } = calibrated ?? {};
    const leaf = calibrated ? [mode, data, tokens].filter(Boolean).join('-') : `r_${rank}`;
    return join(predictorCache(output.io.env), placeOf(opened), leaf);
  }
  const leaf = join(name, calibrated ? calibrated.mode : `r_${rank}`);
  const root = await locatePredictors(base, leaf, output);
  const isThere = ['model.safetensors', 'model.safetensors.index.json'].some((file) => existsSync(join(root, file)));
  return isThere ? root : ((await belowOwner(root, opened.name, leaf)) ?? join(root, leaf));
}

/** Where maps of `compensation_rank` are kept: by model, mode, data (with their template), sparse tokens, rank and choice; a file there for each sparsity. */
function compensationPlace(
  config: SpftConfig,
  opened: BaseModel,
  { rank, choice, data }: { readonly rank: number; readonly choice: string; readonly data: string | undefined },
  output: Output,
): string {
  const leaf = ['compensation', config.mode, data, calibratedTokens(config), `r_${rank}`, choice].filter(Boolean);
  return join(predictorCache(output.io.env), placeOf(opened), leaf.join('-'));
}

/** The original names directories by a model's whole id, `OWNER/NAME/r_8`: that of the model's own owner first. Null where there is none. */
async function belowOwner(root: string, modelName: string, leaf: string): Promise<string | null> {
  if (existsSync(join(root, leaf))) return null;
  const [own] = modelName.split('/');
  const owners = await readdir(root).catch(() => []);
  const sorted = owners.sort((a, b) => Number(b === own) - Number(a === own) || (a < b ? -1 : 1));
  return sorted.map((owner) => join(root, owner, leaf)).find((path) => existsSync(path)) ?? null;
}

/** Which tokens predictors were fitted to, for the name of their place: those of other tokens are others. Empty where all but those with a label were. */
export function calibratedTokens(config: Parameters<typeof tokensDense>[2]): string {
  const { skipOutputTokens, sparseOutputTokens, skipTailTokens = 0, skipSinkTokens, skipRandomTokens, compat } = config;
  return [
    ...(skipOutputTokens ? [] : ['labelled']),
    ...(skipOutputTokens && sparseOutputTokens > 0 ? [`labelled${sparseOutputTokens}`] : []),
    ...(skipTailTokens > 0 ? [`tail${skipTailTokens}`] : []),
    ...(skipSinkTokens > 0 ? [`sink${skipSinkTokens}`] : []),
    ...(skipRandomTokens ? ['random'] : []),
    ...(compat === 'reference' ? ['reference'] : []),
  ].join('-');
}

/** Samples that compensation is fitted to. */
const COMPENSATION_SAMPLES = 128;

/** The run's own samples as data for a calibrated mode; tokens that the run computes densely are not looked at. */
export function calibrationOf(
  opened: BaseModel,
  { source }: Pick<RunSamples, 'source'>,
  sparsity: SpftConfig,
): CalibrationData {
  const denseTokens: DenseTokens = (labels, lengths, seed) => tokensDense(labels, lengths, sparsity, seed);
  // A map of inputs to what was dropped has more numbers to be fitted than a choice of channels.
  const count = sparsity.compensationRank > 0 ? COMPENSATION_SAMPLES : undefined;
  return calibrationData(opened.model, source, { denseTokens, ...(count !== undefined && { count }) });
}

/**
 * Makes a model compute sparsely, with progress where predictors are to be built. Dispose it before the adapter.
 * @throws ConfigError when a layer pattern matches nothing; EstimatorError; PredictorError when predictors do not fit.
 */
export async function attachSparsity<M extends SparsityAttachable>(
  model: M,
  opened: BaseModel,
  config: SpftConfig,
  output: Output,
  calibration?: CalibrationData,
  shareScores?: ShareScores,
): Promise<SpftModel<M>> {
  let building: ReturnType<Output['task']> | null = null;
  let place = '';
  const { plannedFor } = config;
  if (plannedFor !== null && !opened.fingerprint.startsWith(plannedFor)) {
    output.warn(
      `the sparsities were planned for another model (planned_for: ${plannedFor}; this one is ${opened.fingerprint.slice(0, plannedFor.length)}): which layers can ` +
        'be how sparse differs from model to model; let spft sparsity plan measure this one',
    );
  }
  try {
    const spft = await getSpftModel(model, config, {
      ...(calibration ? { calibration } : {}),
      ...(shareScores ? { shareScores } : {}),
      compensation: cachedCompensation(
        ({ rank, choice, data }) => compensationPlace(config, opened, { rank, choice, data: data.data }, output),
        (message) => output.warn(`${message}; SPFT_PREDICTORS names another place for them`),
      ),
      predictors: async (request) => {
        const calibrated = request.kind?.calibrated
          ? { mode: config.mode, data: calibration?.data, tokens: calibratedTokens(config) }
          : null;
        place = await predictorPlace(config, opened, request.rank, output, calibrated);
        const ours = config.predictorPath === null && config.predictorBasepath === null;
        const warn = (message: string) => output.warn(`${message}; SPFT_PREDICTORS names another place for them`);
        // Before minutes of building what could not be kept.
        if (!ours && !existsSync(place))
          await requireWritable(place, "the predictors' directory", 'name another predictor_basepath');
        const source = ours ? cachedPredictors(place, warn) : predictorDirectory(place);
        const found = await source(request);
        const { calibration: record } = found;
        if (calibrated?.data !== undefined && record !== null && record.data !== calibrated.data) {
          output.note(
            `predictors in ${place} were fitted to other data than this run's (${record.data ?? 'unnamed'}, ${record.tokens} tokens); ` +
              'they choose less well than those of its own would: remove predictor_basepath, or build them again, if the tasks differ',
          );
        }
        return found;
      },
      onProgress: ({ done, total, name }) => {
        building ??= output.task(`predictors in ${place}`);
        building.update(done / total, name);
      },
    });
    const built = building as ReturnType<Output['task']> | null;
    if (built) built.done('built');
    else if (place !== '') output.note(`predictors in ${place}`);
    output.note(describeSparsity(spft));
    if (config.compensationRank > 0 && spft.plan.layers.size > 0 && !spft.plan.compensation) {
      output.note('compensation_rank: no MLP is sparse, so none drops channels that could be replaced');
    }
    return spft;
  } catch (error) {
    (building as ReturnType<Output['task']> | null)?.fail();
    throw error;
  }
}

/** Layers of like sparsity in one row: how many channels a sparse step computes. */
function describeSparsity(spft: SpftModel): string {
  const groups = new Map<string, { layers: number[]; cells: string[] }>();
  for (const { layer, mlp, selfAttn } of spft.summary()) {
    const cells = [mlp, selfAttn].map(({ kept, total }) => (kept === total ? 'dense' : `${kept} of ${total}`));
    const group = groups.get(cells.join()) ?? { layers: [], cells };
    group.layers.push(layer);
    groups.set(cells.join(), group);
  }
  const rows = [...groups.values()].map(({ layers, cells }) => [ranges(layers), ...cells]);
  return `sparsity ${spft.plan.estimator.mode}: channels kept\n${table(['layers', 'mlp', 'attention (kv)'], rows)}`;
}

/** `0-2, 5`. */
function ranges(numbers: readonly number[]): string {
  const parts: [number, number][] = [];
  for (const n of numbers) {
    const last = parts.at(-1);
    if (last && last[1] === n - 1) last[1] = n;
    else parts.push([n, n]);
  }
  return parts.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(', ');
}
