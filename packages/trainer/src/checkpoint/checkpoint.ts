/**
 * @file What a checkpoint holds, as files in memory: written and read by a `CheckpointStore`, on a disk (`/node`) or wherever a page may.
 *
 * | file | holds |
 * |---|---|
 * | `trainable.safetensors` | trainable variables by their names in the model |
 * | `optimizer.safetensors` | moments; the metadata says which optimizer and after how many steps |
 * | `scheduler.json` | schedule, peak learning rate, step |
 * | `trainer_state.json` | as transformers': global_step, epoch, log_history, best_metric, … |
 * | `rng_state.json` | seeds, and what the order of the data depends on |
 * | `training_args.json` | the training keys of the run |
 * | `model_identity.json` | base, adapter and sparsity by fingerprints and keys |
 *
 * An adapter as PEFT reads it (`adapter_model.safetensors`, `adapter_config.json`) comes in by the trainer's `checkpointFiles`.
 */
import { shortJson } from '@spft/config';
import { parseSafetensors, type SafetensorsFile, serializeSafetensors } from '@spft/safetensors';
import * as tf from '@tensorflow/tfjs';
import { TrainerError } from '../errors.js';
import type { Optimizer } from '../loop/optimizer.js';
import { learningRateFactor, type Schedule } from '../loop/schedule.js';
import { stateFromJson, stateToJson, type TrainerState } from '../loop/state.js';
import type { TrainingArgs } from '../loop/training-args.js';
import { bytesOf, checkpointJson, checkpointObject, jsonBytes, mismatch } from './checkpoint-json.js';
import { type FinitePlace, requireFinite } from './finite.js';
import { compareIdentity, IDENTITY, type ModelIdentity } from './identity.js';
import type { CheckpointFiles, CheckpointStore } from './store.js';

/** What the order of the data and everything random depends on. */
export interface DataIdentity {
  readonly seed: number;
  readonly dataSeed: number;
  readonly samples: number;
  /** Of all tokens and labels. */
  readonly digest: string;
  readonly batchSize: number;
  readonly accumulation: number;
}

/** The parts of a run that a checkpoint holds. */
export interface RunParts {
  readonly variables: ReadonlyMap<string, tf.Variable>;
  readonly optimizer: Optimizer;
  readonly schedule: Schedule;
  readonly args: TrainingArgs;
  readonly data: DataIdentity;
  /** Of the model, beside its variables. */
  readonly identity: ModelIdentity;
}

const VARIABLES = 'trainable.safetensors';
const OPTIMIZER = 'optimizer.safetensors';
const SCHEDULER = 'scheduler.json';
const STATE = 'trainer_state.json';
const RNG = 'rng_state.json';
const ARGS = 'training_args.json';

/**
 * Reads everything back from the device and lays it out as files.
 * @throws NonFiniteError when a value is NaN or infinite, so that no checkpoint ever holds one.
 */
export async function packCheckpoint(
  parts: RunParts,
  state: TrainerState,
  unloggedLosses: readonly number[],
  lastCheckpoint: string | null = null,
): Promise<Map<string, Uint8Array>> {
  const { variables, optimizer, schedule, args, data, identity } = parts;
  const place = { step: state.globalStep, lastCheckpoint };
  const json = jsonBytes;
  const all = new Map([
    [VARIABLES, serializeSafetensors(await hostTensors(variables, place), { format: 'pt' })],
    [
      OPTIMIZER,
      serializeSafetensors(await hostTensors(optimizer.moments, place), {
        optimizer: optimizer.name,
        steps: String(optimizer.steps),
      }),
    ],
    [
      SCHEDULER,
      json({
        name: schedule.name,
        base_lr: args.learningRate,
        total_steps: schedule.totalSteps,
        warmup_steps: schedule.warmupSteps,
        last_epoch: state.globalStep,
        last_lr: args.learningRate * learningRateFactor(schedule, state.globalStep),
      }),
    ],
    [STATE, json(stateToJson(state, unloggedLosses))],
    [RNG, json(data)],
    [ARGS, json(args)],
    [IDENTITY, json(identity)],
  ]);
  if (args.saveOnlyModel) all.delete(OPTIMIZER);
  return all;
}

/** Variables as a file has them. int32 words are codes of moments in 8 bits, four a word: U8, a code a number, the last block filled up. */
async function hostTensors(variables: ReadonlyMap<string, tf.Variable>, place: FinitePlace) {
  const entries = await Promise.all(
    [...variables].map(async ([name, variable]) => {
      const data = await variable.data();
      if (variable.dtype === 'int32') {
        const bytes = new Uint8Array(Int32Array.from(data).buffer);
        return [name, { dtype: 'U8' as const, shape: [bytes.length], data: bytes }] as const;
      }
      requireFinite(name, data as Float32Array, place);
      return [name, { dtype: 'F32' as const, shape: variable.shape, data: data as Float32Array }] as const;
    }),
  );
  return Object.fromEntries(entries);
}

/**
 * Puts a checkpoint's values into variables and optimizer. Everything is checked before anything is assigned.
 * @returns the state, losses not logged yet, and notices of settings that differ from the checkpoint's.
 * @throws TrainerError when the checkpoint is of another model, optimizer or data, or holds what no run can have written.
 */
export async function unpackCheckpoint(
  files: CheckpointFiles,
  parts: RunParts,
  run: { maxSteps: number; numTrainEpochs: number },
): Promise<{ state: TrainerState; unloggedLosses: number[]; notices: string[] }> {
  const { variables, optimizer, data } = parts;
  checkData(checkpointObject(files, RNG), data);
  const { state, unloggedLosses } = stateFromJson(checkpointJson(files, STATE), run);
  if (state.globalStep > run.maxSteps) {
    throw mismatch(
      `it is at step ${state.globalStep}, past the ${run.maxSteps} steps of this run; train longer or start anew`,
    );
  }
  const notices = compareIdentity(files, parts.identity);
  if (!files.has(OPTIMIZER)) {
    throw mismatch(
      'it was written with save_only_model and has no optimizer, so no run can be continued from it; its adapter can be loaded',
    );
  }
  const moments = await openTensors(files, OPTIMIZER);
  const { optimizer: name, steps } = moments.metadata;
  if (Number(steps) !== state.globalStep) {
    throw mismatch(
      `${OPTIMIZER} is after ${steps} steps, ${STATE} after ${state.globalStep}; resume from another checkpoint`,
    );
  }
  if (name !== optimizer.name)
    throw mismatch(`its optimizer is ${name}, this run's ${optimizer.name}; set optim accordingly`);
  const tensors = [
    ...(await readTensors(await openTensors(files, VARIABLES), variables, VARIABLES)),
    ...(await readTensors(moments, optimizer.moments, OPTIMIZER)),
  ];
  assign(tensors);
  optimizer.resumeAt(Number(steps));
  return { state, unloggedLosses, notices: [...notices, ...changedArgs(checkpointObject(files, ARGS), parts.args)] };
}

/** Puts a checkpoint's variables alone into a model: the best one, after training. */
export async function unpackVariables(
  files: CheckpointFiles,
  variables: ReadonlyMap<string, tf.Variable>,
): Promise<void> {
  assign(await readTensors(await openTensors(files, VARIABLES), variables, VARIABLES));
}

type Assignment = readonly [variable: tf.Variable, values: Float32Array | Int32Array];

function assign(assignments: readonly Assignment[]): void {
  tf.tidy(() => {
    for (const [variable, values] of assignments)
      variable.assign(tf.tensor(values, variable.shape, variable.dtype as 'float32' | 'int32'));
  });
}

async function openTensors(files: CheckpointFiles, name: string): Promise<SafetensorsFile> {
  return parseSafetensors(bytesOf(files, name));
}

async function readTensors(
  file: SafetensorsFile,
  variables: ReadonlyMap<string, tf.Variable>,
  fileName: string,
): Promise<Assignment[]> {
  const found = new Set(file.names);
  const missing = [...variables.keys()].filter((name) => !found.has(name));
  const extra = [...found].filter((name) => !variables.has(name));
  if (missing.length + extra.length > 0) {
    const parts = [];
    if (missing.length > 0) parts.push(`lacks ${missing.length} tensors of this model, e.g. ${missing[0]}`);
    if (extra.length > 0) parts.push(`has ${extra.length} that this model lacks, e.g. ${extra[0]}`);
    throw mismatch(`${fileName} ${parts.join(' and ')}; use the adapter settings of the checkpoint`);
  }
  const assignments: Assignment[] = [];
  for (const [name, variable] of variables) {
    const { shape, dtype } = file.entry(name);
    if (variable.dtype === 'int32') {
      if (dtype !== 'U8' || shape.length !== 1 || shape[0] !== 4 * variable.size) {
        throw mismatch(
          `${fileName}: ${name} is ${dtype} [${shape}], wanted U8 [${4 * variable.size}]; use the checkpoint's rank and optimizer`,
        );
      }
      assignments.push([variable, new Int32Array((await file.bytes(name)).slice().buffer)]);
      continue;
    }
    if (!tf.util.arraysEqual([...shape], variable.shape)) {
      throw mismatch(`${fileName}: ${name} is [${shape}], this model's [${variable.shape}]; use the checkpoint's rank`);
    }
    const values = await file.float32(name);
    const wrong = values.findIndex((value) => !Number.isFinite(value));
    if (wrong >= 0) throw mismatch(`${fileName}: ${name} holds ${values[wrong]}; resume from an earlier one`);
    assignments.push([variable, values]);
  }
  return assignments;
}

/** With other data, or another order of it, a resumed run would be neither the old one nor a new one. */
function checkData(saved: Readonly<Record<string, unknown>>, current: DataIdentity): void {
  const keys = Object.keys(current) as (keyof DataIdentity)[];
  const different = keys.filter((key) => saved[key] !== current[key]);
  if (different.length > 0) {
    const list = different.map((key) => `${key} was ${shown(saved[key])}, is ${current[key]}`).join('; ');
    throw mismatch(`the data or its order changed: ${list}. Restore them, or start a new run`);
  }
}

/** Keys that shape no step to come, or are compared as what they come to: the order of the data, the samples' tokens, the optimizer's name. */
const INDIFFERENT: ReadonlySet<string> = new Set<keyof TrainingArgs>([
  'loggingStrategy',
  'loggingSteps',
  'loggingFirstStep',
  'evalOnStart',
  'evalStrategy',
  'evalSteps',
  'saveStrategy',
  'saveSteps',
  'saveTotalLimit',
  'saveOnlyModel',
  'perDeviceEvalBatchSize',
  'loadBestModelAtEnd',
  'metricForBestModel',
  'greaterIsBetter',
  'resumeFromCheckpoint',
  'gradientCheckpointing',
  'seed',
  'dataSeed',
  'perDeviceTrainBatchSize',
  'gradientAccumulationSteps',
  'modelMaxLength',
  'optim',
]);

/** Of settings that shape the mathematics the new ones hold, and that is said. */
function changedArgs(before: Readonly<Record<string, unknown>>, current: TrainingArgs): string[] {
  return Object.entries(current)
    .filter(([key, now]) => !INDIFFERENT.has(key) && key in before && shortJson(before[key]) !== shortJson(now))
    .map(
      ([key, now]) =>
        `${key} was ${shown(before[key])} in the checkpoint and is ${shown(now)} now: the run will not be the one that was interrupted`,
    );
}

/** A text as it is, anything else as short JSON. */
const shown = (value: unknown): string => (typeof value === 'string' ? value.slice(0, 60) : shortJson(value));

/** Micro-batches of a step, over all ranks and for one of them, of the checkpoint from which a run would go on; null where there is none to tell. */
export async function checkpointAccumulation(
  store: CheckpointStore,
  resume: string,
): Promise<{ readonly ofStep: number; readonly ofRank: number } | null> {
  const { complete } = await store.list();
  const locations = ['true', 'auto'].includes(resume) ? complete.map(({ location }) => location).reverse() : [resume];
  for (const location of locations) {
    try {
      const files = await store.read(location);
      const [ofStep, ofRank] = [
        checkpointObject(files, RNG).accumulation,
        checkpointObject(files, ARGS).gradientAccumulationSteps,
      ];
      return Number.isInteger(ofStep) && Number.isInteger(ofRank)
        ? { ofStep: Number(ofStep), ofRank: Number(ofRank) }
        : null;
    } catch (error) {
      // Whoever resumes says what is wrong with it.
      if (!(error instanceof TrainerError)) throw error;
      if (resume !== 'auto') return null;
    }
  }
  return null;
}
