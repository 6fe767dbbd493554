/**
 * @file Where a run is, and its `trainer_state.json`: transformers' keys, and those that a bit-exact resumption needs besides.
 */
import { shortJson } from '@spft/config';
import { TrainerError } from '../errors.js';

/** One line of the log, keys as transformers' logs have them (`loss`, `learning_rate`, `eval_loss`, …), with `step` and `epoch`. */
export type LogEntry = Readonly<Record<string, number>>;

export interface TrainerState {
  /** Finished optimizer steps. */
  globalStep: number;
  /** Finished epochs, with fraction. */
  epoch: number;
  maxSteps: number;
  numTrainEpochs: number;
  numInputTokensSeen: number;
  logHistory: LogEntry[];
  bestMetric: number | null;
  bestGlobalStep: number | null;
  /** Location of the best checkpoint. */
  bestModelCheckpoint: string | null;
  /** Sum over all logged steps of their losses, for `train_loss`. */
  totalLoss: number;
}

/** What callbacks set to steer the loop; each is reset once it has been obeyed. */
export interface TrainerControl {
  shouldTrainingStop: boolean;
  shouldEpochStop: boolean;
  shouldSave: boolean;
  shouldEvaluate: boolean;
  shouldLog: boolean;
}

export function initialState(maxSteps: number, numTrainEpochs: number): TrainerState {
  return {
    globalStep: 0,
    epoch: 0,
    maxSteps,
    numTrainEpochs,
    numInputTokensSeen: 0,
    logHistory: [],
    bestMetric: null,
    bestGlobalStep: null,
    bestModelCheckpoint: null,
    totalLoss: 0,
  };
}

/** `trainer_state.json`. `unloggedLosses`: losses of finished steps that no log line covers yet. */
export function stateToJson(state: TrainerState, unloggedLosses: readonly number[]): Record<string, unknown> {
  return {
    best_global_step: state.bestGlobalStep,
    best_metric: state.bestMetric,
    best_model_checkpoint: state.bestModelCheckpoint,
    epoch: state.epoch,
    global_step: state.globalStep,
    log_history: state.logHistory,
    max_steps: state.maxSteps,
    num_input_tokens_seen: state.numInputTokensSeen,
    num_train_epochs: state.numTrainEpochs,
    total_loss: state.totalLoss,
    unlogged_losses: unloggedLosses,
  };
}

/** The part of a state that outlives the process; `maxSteps` and `numTrainEpochs` are those of the new run. */
export function stateFromJson(
  json: unknown,
  run: { maxSteps: number; numTrainEpochs: number },
): { state: TrainerState; unloggedLosses: number[] } {
  const record = (json ?? {}) as Record<string, unknown>;
  const numeric = (key: string): number => {
    const value = record[key];
    if (typeof value === 'number' && Number.isFinite(value)) return value;
    throw new TrainerError('checkpoint', `trainer_state.json: ${key}: wanted a number, found ${shortJson(value)}`);
  };
  const count = (key: string): number => {
    const value = numeric(key);
    if (Number.isSafeInteger(value) && value >= 0) return value;
    throw new TrainerError(
      'checkpoint',
      `trainer_state.json: ${key}: wanted a whole number of at least 0, found ${value}`,
    );
  };
  const orNull = (key: string): number | null => (record[key] == null ? null : numeric(key));
  const array = (key: string, holds: (item: unknown) => boolean): unknown[] => {
    const value = record[key];
    if (Array.isArray(value) && value.every(holds)) return value;
    const wanted = holds === isLogEntry ? 'a list of objects of numbers' : 'a list of numbers';
    throw new TrainerError('checkpoint', `trainer_state.json: ${key}: wanted ${wanted}, found ${shortJson(value)}`);
  };
  const best = record.best_model_checkpoint;
  return {
    state: {
      ...initialState(run.maxSteps, run.numTrainEpochs),
      globalStep: count('global_step'),
      epoch: numeric('epoch'),
      numInputTokensSeen: count('num_input_tokens_seen'),
      logHistory: array('log_history', isLogEntry) as LogEntry[],
      bestMetric: orNull('best_metric'),
      bestGlobalStep: orNull('best_global_step'),
      bestModelCheckpoint: typeof best === 'string' ? best : null,
      totalLoss: numeric('total_loss'),
    },
    unloggedLosses: array('unlogged_losses', Number.isFinite) as number[],
  };
}

const isLogEntry = (item: unknown): boolean =>
  typeof item === 'object' && item !== null && !Array.isArray(item) && Object.values(item).every(Number.isFinite);
