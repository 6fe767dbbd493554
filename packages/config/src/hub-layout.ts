/**
 * @file The newer layout of upstream's models on the hub: `config.json` with `predictor_rank` and, for each of the modes o1 (conservative)
 * and o2 (aggressive), `layer_sparsity`; and the flat form that a run of theirs saves as `sparselora_config.json`. There the estimator is
 * the SVD one unless `predictor_mode` (ours) names another, output tokens are always dense, and the predictors lie beside the file.
 */
import { nearestName } from '@spft/safetensors/internals';
import { ConfigError, type ConfigProblem } from './config-error.js';
import type { ConfigSource } from './source-text.js';
import { validate } from './validate.js';

/** A hub file read: the same content as keys of a sparsity file, and what only this layout has. */
export interface HubContent {
  /** snake_cased keys of a sparsity file; `sparsity` with names as written. */
  readonly keys: Readonly<Record<string, unknown>>;
  /** Where the layers are in the file. */
  readonly layersAt: readonly string[];
  readonly baseModel: string | null;
  /** The saved form's `path`; null in `config.json`. */
  readonly path: string | null;
}

export function isHubLayout(value: Readonly<Record<string, unknown>>): boolean {
  return Object.hasOwn(value, 'modes') || Object.hasOwn(value, 'layer_sparsity');
}

/**
 * @param mode which of the file's modes; ignored by the saved form, which has one.
 * @param known problems found while parsing, reported with those found here.
 * @throws ConfigError when keys are wrong or the file lacks the mode.
 */
export function readHubLayout(
  value: Readonly<Record<string, unknown>>,
  mode: string,
  source: ConfigSource,
  known: readonly ConfigProblem[],
): HubContent {
  const flat = !Object.hasOwn(value, 'modes');
  const problems = [...known, ...validate(flat ? 'hub-run' : 'hub', value, source)];
  if (problems.length > 0) throw new ConfigError(problems);

  const modes = (flat ? {} : value.modes) as Record<string, { layer_sparsity: Record<string, number> }>;
  if (!flat && !Object.hasOwn(modes, mode)) throw new ConfigError([noMode(mode, Object.keys(modes), source)]);
  const {
    predictor_rank: rank = 8,
    predictor_mode: predictorMode = `svd_${rank}`,
    start_step: startStep,
    end_step: endStep,
  } = value;
  return {
    keys: {
      mode: predictorMode,
      skip_output_tokens: true,
      ...(startStep !== undefined && { start_step: startStep }),
      ...(endStep !== undefined && { end_step: endStep }),
      sparsity: flat ? value.layer_sparsity : modes[mode]!.layer_sparsity,
    },
    layersAt: flat ? ['layer_sparsity'] : ['modes', mode, 'layer_sparsity'],
    baseModel: typeof value.base_model === 'string' ? value.base_model : null,
    path: typeof value.path === 'string' ? value.path : null,
  };
}

function noMode(mode: string, names: readonly string[], source: ConfigSource): ConfigProblem {
  const meant = nearestName(mode, names);
  const message = `has no mode ${JSON.stringify(mode)}${meant ? `; did you mean ${meant}?` : ''} Allowed: ${names.join(', ')}`;
  return { file: source.file, line: source.lineOf(['modes']), path: ['modes'], message };
}

/** What the saved form can say of a run. */
export interface RunLayoutKeys {
  readonly mode: string;
  readonly startStep: number;
  readonly endStep: number;
  readonly sparsity: Readonly<Record<string, number>>;
  readonly predictorPath: string | null;
}

/** The saved form; null where the mode has no predictors, which it always speaks of. */
export function writeRunLayout(config: RunLayoutKeys): Record<string, unknown> | null {
  const { mode, startStep, endStep, sparsity, predictorPath } = config;
  const predictors = /^(svd|calibrated)_(\d+)$/.exec(mode);
  if (predictors === null) return null;
  return {
    predictor_rank: Number(predictors[2]),
    // Ours: upstream, which knows svd alone, passes over it and takes the factors that lie at `path`.
    ...(predictors[1] !== 'svd' && { predictor_mode: mode }),
    path: predictorPath,
    ...{ start_step: startStep, end_step: endStep, layer_sparsity: { ...sparsity } },
  };
}
