/**
 * @file The training keys that the loop itself obeys, out of the table of all training keys in `@spft/config`.
 */
import { shortJson, snakeCase, TRAIN_KEYS, type TrainConfig } from '@spft/config';
import { TrainerError } from '../errors.js';

const KEYS = [
  'modelMaxLength',
  'numTrainEpochs',
  'maxSteps',
  'perDeviceTrainBatchSize',
  'perDeviceEvalBatchSize',
  'gradientAccumulationSteps',
  'optim',
  'learningRate',
  'weightDecay',
  'adamBeta1',
  'adamBeta2',
  'adamEpsilon',
  'momentum',
  'maxGradNorm',
  'lrSchedulerType',
  'warmupRatio',
  'warmupSteps',
  'loggingSteps',
  'evalStrategy',
  'evalSteps',
  'saveStrategy',
  'saveSteps',
  'saveTotalLimit',
  'loadBestModelAtEnd',
  'metricForBestModel',
  'greaterIsBetter',
  'resumeFromCheckpoint',
  'seed',
  'dataSeed',
  'gradientCheckpointing',
] as const satisfies readonly (keyof TrainConfig)[];

/** What the loop obeys; a whole `TrainConfig` fits too. */
export type TrainingArgs = Pick<TrainConfig, (typeof KEYS)[number]>;

/**
 * Fills in the defaults of the table and checks ranges; other keys are left out.
 * @throws TrainerError listing everything that is wrong.
 */
export function resolveArgs(given: Partial<TrainingArgs>): TrainingArgs {
  const problems: string[] = [];
  const args: Record<string, unknown> = {};
  for (const key of KEYS) {
    const value = given[key] ?? TRAIN_KEYS[key].default;
    const problem = value === null ? null : problemOf(key, value);
    if (problem) problems.push(problem);
    args[key] = value;
  }
  const resolved = args as unknown as TrainingArgs;
  if (resolved.loadBestModelAtEnd) problems.push(...bestModelProblems(resolved));
  if (problems.length > 0) throw new TrainerError('options', `training arguments: ${problems.join('; ')}`);
  return resolved;
}

function problemOf(key: (typeof KEYS)[number], value: string | number | boolean): string | null {
  const { type, range, values } = TRAIN_KEYS[key];
  const name = snakeCase(key);
  const wanted = type === 'integer' ? 'number' : type;
  if (typeof value !== wanted) return `${name}: wanted a ${type}, found ${shortJson(value)}`;
  if (values && !values.includes(value as string)) {
    return `${name}: wanted one of ${values.join(', ')}, found ${shortJson(value)}`;
  }
  if (typeof value !== 'number') return null;
  if (type === 'integer' && !Number.isInteger(value)) return `${name}: wanted a whole number, found ${value}`;
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = range ?? {};
  if (minimum !== undefined && !(value >= minimum)) return `${name}: wanted at least ${minimum}, found ${value}`;
  if (maximum !== undefined && !(value <= maximum)) return `${name}: wanted at most ${maximum}, found ${value}`;
  if (exclusiveMinimum !== undefined && !(value > exclusiveMinimum)) {
    return `${name}: wanted more than ${exclusiveMinimum}, found ${value}`;
  }
  if (exclusiveMaximum !== undefined && !(value < exclusiveMaximum)) {
    return `${name}: wanted less than ${exclusiveMaximum}, found ${value}`;
  }
  return Number.isFinite(value) ? null : `${name}: wanted a finite number, found ${value}`;
}

/** A new best is always saved when it is to be loaded at the end, so evaluation and saving need not fall on the same steps. */
function bestModelProblems({ evalStrategy, saveStrategy }: TrainingArgs): string[] {
  const name = 'load_best_model_at_end';
  const problems = [];
  if (evalStrategy === 'no') problems.push(`${name}: needs eval_strategy steps or epoch, found no`);
  if (saveStrategy === 'no') problems.push(`${name}: needs save_strategy steps or epoch, found no`);
  return problems;
}
