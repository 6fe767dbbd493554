/**
 * @file The maps that a config asks for (`compensation_rank`), or a planner that tries several sparsities: whether they can be had, and where they come from, a
 * fit to the run's data or a cache of earlier ones (`cachedCompensation` of `@spft/estimator/node`).
 */
import { keptChannels } from '@spft/sparse-ops';
import type { CalibrationData } from './calibration.js';
import { type CompensationLevels, type CompensationTable, fitCompensationLevels } from './compensation.js';
import { EstimatorError } from './errors.js';
import type { BuildProgress } from './predictors.js';
import type { SparsityHost, SparsityPlan } from './types.js';

/** What is asked of a source of maps. */
export interface CompensationRequest {
  readonly host: SparsityHost;
  /** Whose estimator chooses what is dropped. */
  readonly chooser: Pick<SparsityPlan, 'estimator' | 'compat'>;
  readonly rank: number;
  readonly wanted: CompensationLevels;
  /** Tells by what channels are chosen (mode, rows that give the scores, predictors): maps of another choice are others. */
  readonly choice: string;
  /** What they are fitted to. */
  readonly data: CalibrationData;
  readonly onProgress?: (progress: BuildProgress) => void;
}

/** Where maps come from. What it gives is the caller's (`disposeCompensationTable`). */
export type CompensationSource = (request: CompensationRequest) => Promise<CompensationTable>;

export interface CompensationNeeds {
  readonly rank: number;
  readonly wanted: CompensationLevels;
  /** Kept counts are rounded up to a multiple of it. */
  readonly channelMultiple: number;
  readonly choice: () => Promise<string>;
  readonly calibration?: CalibrationData | undefined;
  /** Default: fitted anew. */
  readonly source?: CompensationSource | undefined;
  readonly onProgress?: ((progress: BuildProgress) => void) | undefined;
}

/**
 * Maps at every wanted sparsity.
 * @returns owned by the caller.
 * @throws EstimatorError when they cannot be had: rank, sparsities, mode or data do not do. PredictorError as `fitCompensation`.
 */
export async function requestCompensation(
  host: SparsityHost,
  chooser: CompensationRequest['chooser'],
  { rank, wanted, channelMultiple, choice, calibration, source = fitted, onProgress }: CompensationNeeds,
): Promise<CompensationTable> {
  if (!Number.isInteger(rank) || rank < 1 || rank > host.hiddenSize) {
    throw new EstimatorError(
      `compensation_rank must be a whole number from 0 to the model's hidden size ${host.hiddenSize}, got ${rank}`,
    );
  }
  const { needs, applies, mode, sharesScores } = chooser.estimator;
  if (needs !== 'input' || applies !== 'gather') {
    throw new EstimatorError(
      `compensation_rank: mode '${mode}' computes every channel before it drops some, so there is nothing to replace; set it to 0, or use svd_<rank>, calibrated_<rank> or static`,
    );
  }
  refuseWithoutDrops(wanted, host.intermediateSize, channelMultiple);
  if (sharesScores) {
    throw new EstimatorError(
      'compensation_rank: ranks that choose channels together cannot fit what replaces the others, as they prepare a run one after the other; ' +
        'leave shared_selection out, or set it to 0',
    );
  }
  if (calibration === undefined) {
    throw new EstimatorError(
      'compensation_rank: what replaces dropped channels is fitted to data, and none are given; pass getSpftModel `calibration`, or set it to 0',
    );
  }
  return source({
    ...{ host, chooser, rank, wanted, choice: await choice(), data: calibration },
    ...(onProgress && { onProgress }),
  });
}

/** A sparsity that keeps every channel has nothing to replace. */
function refuseWithoutDrops(wanted: CompensationLevels, channels: number, multiple: number): void {
  if (![...wanted.values()].some(({ length }) => length > 0)) {
    throw new EstimatorError(
      "compensation_rank: no MLP is to be sparse, so none drops channels that could be replaced (attention's are not); set it to 0, or make MLPs sparse",
    );
  }
  for (const [layer, levels] of wanted) {
    const idle = levels.find((level) => keptChannels(channels, level, multiple) >= channels);
    if (idle === undefined) continue;
    throw new EstimatorError(
      `compensation_rank: layers.${layer}.mlp at a sparsity of ${idle} keeps all of its ${channels} channels${multiple > 1 ? ` (rounded up to a multiple of ${multiple})` : ''}, ` +
        'so nothing is dropped that could be replaced; take a higher sparsity, or 0',
    );
  }
}

const fitted: CompensationSource = ({ host, chooser, rank, wanted, data, onProgress }) =>
  fitCompensationLevels(host, chooser, wanted, data, {
    rank,
    onProgress: (done, total) => onProgress?.({ done, total, name: 'compensation' }),
  });
