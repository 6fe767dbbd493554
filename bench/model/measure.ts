/** @file Seconds a step of several methods, taken in turns, and the memory of one. */
import * as tf from '@tensorflow/tfjs';
import { type Quantiles, quantiles } from '../support/quantiles.js';
import { createMethod, type Method, type MethodName } from './methods.js';
import { type BatchOptions, type BenchBatch, randomBatch, randomModel } from './random-model.js';
import type { BenchShape } from './shapes.js';

export interface Timing {
  /** Seconds of a forward pass off the tape. */
  readonly forward: Quantiles;
  /** Seconds of a whole training step without its forward: backward, clipping, AdamW. */
  readonly backward: Quantiles;
  /** Seconds of a whole training step. */
  readonly step: Quantiles;
}

export interface TimedMethod {
  readonly method: Method;
  readonly batch: BenchBatch;
}

/**
 * Times `steps` rounds after `warmup` others; in each round every method takes a forward pass and a step.
 * @throws Error when a loss is not finite.
 */
export function timeInTurns(
  methods: readonly TimedMethod[],
  { steps, warmup, onRound }: { readonly steps: number; readonly warmup: number; onRound?(done: number): void },
): Timing[] {
  const taken = methods.map(() => ({ forward: [] as number[], backward: [] as number[], step: [] as number[] }));
  for (let round = 0; round < warmup + steps; round++) {
    methods.forEach(({ method, batch }, n) => {
      const forward = seconds(() => checked(method.name, method.forward(batch)));
      const step = seconds(() => checked(method.name, method.step(batch)));
      if (round < warmup) return;
      taken[n]!.forward.push(forward);
      taken[n]!.step.push(step);
      taken[n]!.backward.push(step - forward);
    });
    onRound?.(round + 1);
  }
  return taken.map(({ forward, backward, step }) => ({
    forward: quantiles(forward),
    backward: quantiles(backward),
    step: quantiles(step),
  }));
}

/** `run` reads its result back, so the backend has finished when it returns. */
function seconds(run: () => void): number {
  const start = performance.now();
  run();
  return (performance.now() - start) / 1000;
}

function checked(method: string, loss: number): void {
  if (!Number.isFinite(loss)) throw new Error(`${method}: the loss is ${loss}; what is timed would be no training`);
}

export interface Memory {
  /** Of the process, Node and tfjs included. */
  readonly peakRssBytes: number;
  /** Of the process before there was a model. */
  readonly baselineRssBytes: number;
  /** Of tensors between steps: model, adapters, moments, predictors. */
  readonly tensorBytes: number;
  /** Of tensors at the highest point of a step. */
  readonly peakTensorBytes: number;
}

/** Memory of two steps of one method. The process's own peak counts, so this wants a process to itself. */
export async function measureMemory(shape: BenchShape, name: MethodName, options: BatchOptions): Promise<Memory> {
  const baselineRssBytes = process.memoryUsage.rss();
  const model = await randomModel(shape);
  const method = await createMethod(name, model, shape);
  const batch = randomBatch(shape.config.vocabSize, options, name === 'sparselora');
  method.step(batch);
  const { peakBytes } = await tf.profile(() => {
    method.step(batch);
  });
  const memory = {
    peakRssBytes: process.resourceUsage().maxRSS * 1024,
    baselineRssBytes,
    tensorBytes: tf.memory().numBytes,
    peakTensorBytes: peakBytes,
  };
  method.dispose();
  model.dispose();
  return memory;
}
