/**
 * @file One run of one method for `spft speed`: a fresh adapter, its sparsity, and steps of the real training loop, each of which is waited for.
 */
import type { SpftConfig, TrainConfig } from '@spft/config';
import type { SpftModel } from '@spft/estimator';
import type { LlamaForCausalLM } from '@spft/models';
import type { PeftModel } from '@spft/peft';
import { type SampleSource, Trainer, type TrainerCallback, type TrainingArgs } from '@spft/trainer';
import * as tf from '@tensorflow/tfjs';
import { Output } from '../terminal/output.js';
import { newAdapter } from './attach-adapter.js';
import { attachSparsity, calibrationOf } from './attach-sparsity.js';
import type { BaseModel } from './open-model.js';
import { meanStepFlops } from './run-flops.js';

export interface SpeedMethod {
  /** As the user named it. */
  readonly name: string;
  /** The adapter's method. */
  readonly peft: string;
  readonly isSparse: boolean;
}

export interface SpeedRunRequest {
  readonly method: SpeedMethod;
  readonly base: BaseModel;
  readonly source: SampleSource;
  /** With the seed of this run. */
  readonly config: TrainConfig;
  readonly sparsity: SpftConfig | null;
  readonly warmup: number;
  readonly steps: number;
  /** Say what is attached, and measure memory and FLOPs too. */
  readonly isFirst: boolean;
}

export interface SpeedRun {
  /** Of each timed step. */
  readonly seconds: readonly number[];
  readonly tokens: readonly number[];
  readonly trainableParameters: number;
  readonly losses: readonly [first: number, last: number];
  /** Of the first run alone. */
  readonly flops: number | null;
  readonly flopsShareOfDense: number | null;
  readonly peakBytes: number | null;
}

/** What a backend that manages its device's memory itself knows (`cuda`). */
interface MemoryPool {
  resetPeak(): void;
  readonly peakBytes: number;
}

const poolOf = (): MemoryPool | null => {
  const { memoryPool } = tf.backend() as { memoryPool?: MemoryPool };
  return memoryPool && typeof memoryPool.resetPeak === 'function' ? memoryPool : null;
};

/** Where the bytes of `peakBytes` are counted. */
export const memoryIsCountedBy = (): 'pool' | 'tensors' => (poolOf() === null ? 'tensors' : 'pool');

/** @throws whatever the steps throw, after everything was given back. */
export async function speedRun(request: SpeedRunRequest, output: Output): Promise<SpeedRun> {
  const { method, base, source, config, sparsity, warmup, steps, isFirst } = request;
  const said = isFirst ? output : new Output(output.io, true);
  let peft: PeftModel<LlamaForCausalLM> | null = null;
  let spft: SpftModel<PeftModel<LlamaForCausalLM>> | null = null;
  try {
    peft = newAdapter(base, { ...config, peft: method.peft }, said);
    if (method.isSparse)
      spft = await attachSparsity(peft, base, sparsity!, said, calibrationOf(base, { source }, sparsity!));
    const model = spft ?? peft;
    const trainer = (maxSteps: number, callbacks: readonly TrainerCallback[] = []) =>
      new Trainer({
        model,
        samples: source,
        args: { ...config, ...QUIET, maxSteps },
        callbacks,
        notify: (message) => said.note(message),
      });
    const pool = poolOf();
    // Only there: asking each kernel for its bytes takes time, so that is done in a step of its own.
    const profiled = isFirst && pool === null ? await peakOfTensors(() => trainer(1).train()) : null;
    const made = trainer(warmup + steps, [new AfterWarmup(warmup, () => pool?.resetPeak())]);
    const { stepSeconds, state } = await made.train();
    const counted = isFirst ? meanStepFlops({ model: base.model, spft, peft }, source, made) : null;
    const losses = state.logHistory.flatMap(({ loss }) => (loss === undefined ? [] : [loss]));
    return {
      seconds: stepSeconds.slice(warmup),
      tokens: made.clock.tokens.slice(warmup),
      trainableParameters: peft.parameterCount().trainable,
      losses: [losses[0]!, losses.at(-1)!],
      flops: counted?.flops ?? null,
      flopsShareOfDense: counted && counted.flops / counted.denseFlops,
      peakBytes: isFirst ? (pool?.peakBytes ?? profiled) : null,
    };
  } finally {
    spft?.dispose();
    peft?.dispose();
  }
}

/** Nothing but steps; a line of the log after each, so that each is waited for. */
const QUIET: Partial<TrainingArgs> = {
  ...{ loggingStrategy: 'steps', loggingSteps: 1, loggingFirstStep: false, saveStrategy: 'no', evalStrategy: 'no' },
  ...{ evalOnStart: false, loadBestModelAtEnd: false, resumeFromCheckpoint: null },
};

/** Bytes of all tensors, the frozen model's too, at the highest point. */
async function peakOfTensors(work: () => Promise<unknown>): Promise<number> {
  // tfjs waits for what a profiled function promises, though its type does not say so.
  const { peakBytes } = await tf.profile(work as unknown as () => tf.TensorContainer);
  return peakBytes;
}

class AfterWarmup implements TrainerCallback {
  #left: number;

  constructor(
    warmup: number,
    readonly act: () => void,
  ) {
    this.#left = warmup;
  }

  onTrainBegin(): void {
    if (this.#left === 0) this.act();
  }

  /** A step that computes synchronously leaves Ctrl-C no turn otherwise. */
  onStepEnd(): Promise<void> {
    if (--this.#left === 0) this.act();
    return new Promise((resume) => setImmediate(resume));
  }
}
