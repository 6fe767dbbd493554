/** @file A sparsity planned for a model and data: what `spft sparsity plan` does, and `spft train --sparsity auto` before it trains. */
import { readFile } from 'node:fs/promises';
import { availableParallelism, cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { SpftConfig, snakeCase, type TrainConfig } from '@spft/config';
import {
  type CompensationTable,
  disposeCompensationTable,
  type SparsitySchedule,
  sparseShareOfSteps,
} from '@spft/estimator';
import type { LlamaForCausalLM } from '@spft/models';
import type { PeftModel } from '@spft/peft';
import { writeFileAtomically } from '@spft/safetensors/node';
import {
  everyLayer,
  PLAN_LEVELS,
  type PlanBudget,
  type PlanTextFacts,
  planSparsity,
  planText,
  type SparsityPlanning,
  StepTimer,
  type Stopwatch,
  stepShares,
  TIMES,
  timeVerdict,
} from '@spft/trainer';
import * as tf from '@tensorflow/tfjs';
import { CliError, messageOf } from '../errors.js';
import type { Output } from '../terminal/output.js';
import { attachSparsity, calibrationOf, placeOf, predictorCache } from './attach-sparsity.js';
import type { RunSamples } from './open-data.js';
import type { OpenedModel } from './open-model.js';
import { flopsMethod } from './run-flops.js';

export interface PlanAsked extends PlanBudget {
  readonly peft: PeftModel<LlamaForCausalLM>;
  readonly opened: OpenedModel;
  readonly samples: RunSamples;
  readonly train: Pick<
    TrainConfig,
    'dataset' | 'spftMode' | 'spftPredictorBasepath' | 'perDeviceTrainBatchSize' | 'gradientCheckpointing'
  >;
  /** Default `calibrated_8`. */
  readonly estimator?: string;
  readonly levels?: readonly number[];
  readonly tails?: readonly number[];
  /** Samples that are measured on. */
  readonly count?: number;
  /** Of the run that is planned for (`compensation_rank`): measured with its maps. Default 0. */
  readonly compensationRank?: number | undefined;
  /** Which steps are sparse, as shares of the run. Default: all. */
  readonly schedule?: Partial<SparsitySchedule>;
  /** Who tells times; by default this machine's clock. */
  readonly stopwatch?: Stopwatch | undefined;
  /** Measure times again that an earlier plan measured. */
  readonly freshTimes?: boolean | undefined;
}

export interface Planned {
  readonly planning: SparsityPlanning;
  readonly facts: PlanTextFacts;
  readonly text: string;
}

/** Without a number a plan may raise the loss by so much. */
const AUTO_MAX_LOSS = 0.1;
/**
 * Kept counts are multiples of it: whole SIMD vectors on a CPU, and on `blas` what its products are fast with (SmolLM2's MLP with 384 sparse rows: other counts run
 * at 75 to 90 GFLOP/s of 137). Tensor cores want 16, which `getSpftModel` has by itself.
 */
const CHANNEL_MULTIPLE: Readonly<Record<string, number>> = { blas: 16, wasm: 8, cpu: 8, tensorflow: 8 };

/** Steps of a run by which the shares of its schedule are counted. */
const MANY_STEPS = 10_000;

/** The budget of `auto` or `auto:0.6`; null where the key names a file. @throws CliError when the number is none. */
export function autoBudget(spft: string | null): PlanBudget | null {
  const found = /^auto(?::(.*))?$/.exec(spft ?? '');
  if (found === null) return null;
  const number = found[1];
  if (number === undefined) return { maxLoss: AUTO_MAX_LOSS };
  const flops = number.trim() === '' ? Number.NaN : Number(number);
  if (flops > 0 && flops < 1) return { flops };
  throw new CliError(
    `--sparsity ${spft}: wanted auto, or auto:SHARE with a share of FLOPs between 0 and 1, e.g. auto:0.6`,
  );
}

/** The planned config of a run; its text is kept beside the measurements. */
export async function plannedSparsity(
  asked: PlanAsked & { readonly train: TrainConfig },
  flags: Iterable<string>,
  output: Output,
): Promise<SpftConfig> {
  const { train } = asked;
  const compensationRank = train.spftCompensationRank ?? undefined;
  const { text } = await planFor({ ...asked, estimator: train.spftMode ?? undefined, compensationRank }, output);
  const path = join(planDirectory(asked.opened, output), 'auto.yaml');
  if (await kept(path, text, output)) output.note(`sparsity planned: ${path}`);
  return SpftConfig.fromText(text, path, { train, flags });
}

/**
 * Measures and solves; what was measured before on the same model, data and estimator is not measured again, so an interrupted plan goes on.
 * @throws TrainerError when the budget cannot be met, saying what can.
 */
export async function planFor(asked: PlanAsked, output: Output): Promise<Planned> {
  const { peft, opened, samples, train, estimator = 'calibrated_8', levels, tails, count = 16 } = asked;
  const { flops, time, maxLoss, compensationRank = 0 } = asked;
  const { layerCount, hiddenSize } = opened.model;
  if (!(Number.isInteger(compensationRank) && compensationRank >= 0 && compensationRank <= hiddenSize)) {
    // Before minutes of measuring.
    throw new CliError(
      `compensation_rank must be a whole number from 0 to the model's hidden size ${hiddenSize}, got ${compensationRank}`,
    );
  }
  const channelMultiple = CHANNEL_MULTIPLE[tf.getBackend()] ?? null;
  const config = SpftConfig.fromObject({
    mode: estimator,
    ...{ skip_output_tokens: true, skip_tail_tokens: 16, channel_multiple: channelMultiple },
    predictor_basepath: train.spftPredictorBasepath,
    compensation_rank: compensationRank,
    sparsity: everyLayer(layerCount),
  });
  const schedule = { startStep: 0, endStep: 1, ...asked.schedule };
  for (const [key, value] of Object.entries(schedule)) {
    if (key === 'denseEvery' || (value >= 0 && value <= 1)) continue;
    throw new CliError(
      `a plan is for runs of any length: ${snakeCase(key)} must be a share of the steps from 0 to 1, got ${value}`,
    );
  }
  const calibration = calibrationOf(opened, samples, config);
  // Of every sparsity that is tried there are maps of their own.
  const spft = await attachSparsity(peft, opened, { ...config, compensationRank: 0 }, output, calibration);
  let compensation: CompensationTable | null = null;
  const status = output.task('plan');
  try {
    if (spft.plan.estimator.applies !== 'gather') {
      throw new CliError(`a plan needs an estimator that saves arithmetic; '${estimator}' computes everything first`);
    }
    const data = `${samples.source.digest.slice(0, 16)}-${calibration.data ?? ''}`;
    // Not by the estimator alone: what was measured with scores from all tokens is of another choice.
    const chosen = `${estimator}-context${compensationRank > 0 ? `-compensated${compensationRank}` : ''}`;
    // Channels are chosen for a batch, so losses are of its size.
    const batches = `${count}by${train.perDeviceTrainBatchSize}`;
    const path = join(planDirectory(opened, output), `${chosen}-${data}-${batches}-${tf.getBackend()}.json`);
    const known = await readMeasurements(path);
    if (asked.freshTimes) for (const key of known.keys()) if (isTime(key)) known.delete(key);
    const reused = known.size;
    const reusedTimes = [...known.keys()].some(isTime);
    let isKept = true;
    const save = async () => {
      if (isKept) isKept = await kept(path, JSON.stringify(Object.fromEntries(known), null, 1), output);
    };
    let measured = 0;
    if (compensationRank > 0) {
      const wanted = new Map(Array.from({ length: layerCount }, (_, layer) => [layer, levels ?? PLAN_LEVELS]));
      compensation = await spft.compensationTable(compensationRank, wanted, ({ done, total }) =>
        status.update(done / total, 'maps of what is dropped'),
      );
    }
    const planning = await planSparsity({
      ...{ spft, shape: opened.model.config, samples: samples.source, known: new Map(known) },
      ...{ flops, time, maxLoss, levels, tails, count, sparseSteps: sparseShareOfSteps(schedule, MANY_STEPS) },
      batchSize: train.perDeviceTrainBatchSize,
      method: { ...flopsMethod(spft, peft), compensationRank },
      ...(compensation && { compensation }),
      timing: {
        stopwatch:
          asked.stopwatch ?? new StepTimer(spft, opened.model, { gradientCheckpointing: train.gradientCheckpointing }),
        conditions: timingConditions(peft, train, channelMultiple, compensationRank),
      },
      onMeasured: async (key, value) => {
        known.set(key, value);
        if (++measured % 8 === 0) await save();
        // Ctrl-C and the bar get a turn.
        await new Promise(setImmediate);
      },
      onProgress: (done, total, what) => status.update(Math.min(1, done / Math.max(1, total)), what),
    }).finally(save);
    status.done(
      `${planning.sparsity.size} of ${2 * layerCount} modules sparse, a step takes ${stepShares(planning)}, loss before ` +
        `training ${planning.denseLoss.toFixed(3)} → ${planning.loss.toFixed(3)}${reused > 0 ? `; ${reused} measurements were there` : ''}`,
    );
    if (reusedTimes && time !== undefined)
      output.note(
        'times were measured by an earlier plan; --fresh_times measures them again, where the machine was busy then',
      );
    const facts: PlanTextFacts = {
      ...{ mode: estimator, model: opened.name, dataset: train.dataset ?? '', backend: tf.getBackend() },
      ...{ channelMultiple, layerCount, fingerprint: opened.fingerprint.slice(0, 12), compensationRank },
      schedule: Object.fromEntries(Object.entries(asked.schedule ?? {}).map(([key, value]) => [snakeCase(key), value])),
    };
    const verdict = timeVerdict(planning, facts);
    if (verdict !== null) output.warn(verdict);
    return { planning, facts, text: planText(planning, facts) };
  } catch (error) {
    status.fail();
    throw error;
  } finally {
    if (compensation) disposeCompensationTable(compensation);
    spft.dispose();
  }
}

const isTime = (key: string) => key.startsWith(TIMES);

/** On what a layer's time depends beside model, data and backend, which the file of measurements is named by. */
function timingConditions(
  peft: PeftModel<LlamaForCausalLM>,
  train: PlanAsked['train'],
  channelMultiple: number | null,
  compensationRank: number,
): string {
  const targets = new Set([...peft.adapters.keys()].map((name) => name.split('.').at(-1)));
  // A backend that has a device of its own knows its name (`cuda`).
  const { device } = tf.backend() as { device?: { info?: { name?: string } } };
  return [
    ...(device?.info?.name === undefined ? [] : [device.info.name]),
    ...[cpus()[0]?.model.trim() ?? 'unknown processor', `${availableParallelism()} threads`],
    ...[`batch ${train.perDeviceTrainBatchSize}`, `rank ${peft.config.r} on ${[...targets].join('+')}`],
    ...(peft.config.useDora ? ['DoRA'] : []),
    ...(peft.config.loraDropout > 0 ? ['dropout'] : []),
    ...(train.gradientCheckpointing ? ['checkpointing'] : []),
    ...(channelMultiple === null ? [] : [`channels by ${channelMultiple}`]),
    ...(compensationRank === 0 ? [] : [`compensation ${compensationRank}`]),
  ].join(', ');
}

function planDirectory(opened: OpenedModel, output: Output): string {
  return join(dirname(predictorCache(output.io.env)), 'plans', placeOf(opened));
}

/** Whether the cache took the file; a plan goes on without one, and says so. */
async function kept(path: string, text: string, output: Output): Promise<boolean> {
  try {
    await writeFileAtomically(path, (handle) => handle.writeFile(text));
    return true;
  } catch (error) {
    const why = messageOf(error);
    if (why === null) throw error;
    output.warn(`what was planned is not kept for the next time: ${why}; SPFT_PREDICTORS names another place for it`);
    return false;
  }
}

/** What an earlier plan measured; a file that is broken is as good as none. */
async function readMeasurements(path: string): Promise<Map<string, number>> {
  try {
    const value = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>;
    return new Map(Object.entries(value).filter((entry): entry is [string, number] => Number.isFinite(entry[1])));
  } catch {
    return new Map();
  }
}
