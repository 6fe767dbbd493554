/**
 * @file The training keys that the loop itself obeys, out of the table of all training keys in `@spft/config`.
 */
import { camelCase, type KeySpec, shortJson, snakeCase, TRAIN_KEYS, type TrainConfig } from '@spft/config';
import { nearestName } from '@spft/safetensors/internals';
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
  'lrSchedulerKwargs',
  'labelSmoothingFactor',
  'neftuneNoiseAlpha',
  'warmupRatio',
  'warmupSteps',
  'groupByLength',
  'dataloaderDropLast',
  'loggingStrategy',
  'loggingSteps',
  'loggingFirstStep',
  'evalOnStart',
  'saveOnlyModel',
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
  const problems = Object.keys(given).flatMap((key) => (Object.hasOwn(TRAIN_KEYS, key) ? [] : unknownKey(key)));
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

/** A name that nothing reads, and the argument would have its default in silence: as files have it, `learning_rate`, or misspelt. */
function unknownKey(key: string): string {
  const near = nearestName(camelCase(key), Object.keys(TRAIN_KEYS));
  return `there is no '${key}'${near === null ? '' : `; did you mean '${near}'?`}`;
}

const STEPS: ReadonlySet<string> = new Set(['loggingSteps', 'evalSteps', 'saveSteps']);

function problemOf(key: (typeof KEYS)[number], value: string | number | boolean | readonly string[]): string | null {
  const { type, range, values } = TRAIN_KEYS[key] as KeySpec<unknown>;
  const name = snakeCase(key);
  if (type === 'list') return Array.isArray(value) ? null : `${name}: wanted a list, found ${shortJson(value)}`;
  if (STEPS.has(key) && typeof value === 'number' && value > 1 && !Number.isInteger(value)) {
    return `${name}: wanted a whole number of steps, or a share of the run below 1, found ${value}`;
  }
  const wanted = type === 'integer' ? 'number' : type;
  if (typeof value !== wanted)
    return `${name}: wanted ${type === 'integer' ? 'a whole number' : `a ${type}`}, found ${shortJson(value)}`;
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

/** Log lines where `logging_steps` is not given: every tenth of a run, at least as often as transformers does. */
const LOG_LINES = 10;
const MOST_STEPS = 500;

/** `*_steps` as whole steps of a run of so many: a number below 1 is a share of it, rounded up as transformers does. */
export function stepsOf(
  args: TrainingArgs,
  maxSteps: number,
): Pick<StepArgs, 'loggingSteps' | 'evalSteps' | 'saveSteps'> {
  const whole = (steps: number) => (steps < 1 ? Math.max(1, Math.ceil(steps * maxSteps)) : steps);
  const loggingSteps =
    args.loggingSteps === null
      ? Math.max(1, Math.min(MOST_STEPS, Math.floor(maxSteps / LOG_LINES)))
      : whole(args.loggingSteps);
  return {
    loggingSteps,
    evalSteps: args.evalSteps === null ? loggingSteps : whole(args.evalSteps),
    saveSteps: whole(args.saveSteps),
  };
}

/** Training arguments of a run whose length is known. */
export type StepArgs = Omit<TrainingArgs, 'loggingSteps' | 'evalSteps' | 'saveSteps'> & {
  readonly loggingSteps: number;
  readonly evalSteps: number;
  readonly saveSteps: number;
};
