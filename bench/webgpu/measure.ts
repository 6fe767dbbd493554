/** @file One backend measured: a step with its loss read back, steps that are read back at the end alone, memory, and where the time goes. */
import type { SpftConfig } from '@spft/config';
import type { LlamaConfig } from '@spft/models';
import * as tf from '@tensorflow/tfjs';
import { rowBatch, SMOLLM2_135M } from '../cuda/llama.js';
import { attach } from '../cuda/method.js';
import { randomModel } from '../model/random-model.js';
import type { BenchShape } from '../model/shapes.js';
import { quantiles } from '../support/quantiles.js';
import { start } from './start.js';
import { verify } from './verify.js';

export interface MeasureOptions {
  readonly steps: number;
  readonly warmup: number;
  readonly length: number;
  readonly layers: number;
  readonly vocabulary: number;
  readonly sparse: boolean;
  /** Of the model that is timed, and how the host gives them; what a backend makes of bf16 is its own affair. */
  readonly weights?: 'float32' | 'bf16' | 'bf16 as float32';
  readonly verify: boolean;
}

/** What is asked of a backend that can say where its time goes. */
interface Profiling {
  profile(f: () => void): Promise<readonly { readonly name: string; readonly calls: number; readonly ms: number }[]>;
  readonly dispatches: number;
}

/** Of 26 of the 30 layers, as in bench/cuda/rows.ts. */
const sparsity = (layers: number) =>
  ({
    mode: 'svd_8',
    skip_output_tokens: true,
    sparsity: Object.fromEntries(
      Array.from({ length: Math.max(1, layers - 4) }, (_, n) => [`layers.${n + (layers > 4 ? 2 : 0)}.mlp`, 0.75]),
    ),
  }) as Parameters<typeof SpftConfig.fromObject>[0];

const shapeOf = (config: LlamaConfig): BenchShape => ({
  ...{ name: 'smollm2-135m', config, sparsity: new Map(), predictorRank: 8, batch: 1, length: 512 },
});

/** @throws Error where a loss or gradient is wrong, a loss is not finite, or steps leave memory behind. */
export async function measure(backend: string, options: MeasureOptions): Promise<object> {
  const { steps, warmup, length, layers, vocabulary, sparse, weights = 'float32' } = options;
  const device = await start(backend);
  const row = { dora: false, sparsity: sparse ? sparsity(layers) : null } as const;
  if (options.verify) await verify(backend, row);
  const config = { ...SMOLLM2_135M, numHiddenLayers: layers, vocabSize: vocabulary };
  const model = await randomModel(shapeOf(config), weights);
  const method = await attach(model, row, 'configs/sparsity');
  const batch = rowBatch(vocabulary, { batch: 1, length, labelled: length / 4, sparsity: row.sparsity as null });
  const losses: number[] = [];
  const read = async (loss: tf.Scalar) => {
    const value = (await loss.data())[0]!;
    loss.dispose();
    if (!Number.isFinite(value))
      throw new Error(`${backend}: the loss is ${value}; what is timed would be no training`);
    losses.push(value);
  };
  const first = performance.now();
  await read(method.step(batch));
  const firstStepMs = performance.now() - first;
  for (let n = 1; n < warmup; n++) await read(method.step(batch));
  const memory = () => ({ tensors: tf.memory().numTensors, bytes: bytesOf(), rss: process.memoryUsage.rss() });
  const before = memory();
  const [host, whole]: [number[], number[]] = [[], []];
  for (let n = 0; n < steps; n++) {
    const started = performance.now();
    const loss = method.step(batch);
    host.push(performance.now() - started);
    await read(loss);
    whole.push(performance.now() - started);
  }
  const after = memory();
  const started = performance.now();
  const waiting = Array.from({ length: steps }, () => method.step(batch));
  for (const loss of waiting) await read(loss);
  const pipelinedMs = (performance.now() - started) / steps;
  if (after.tensors !== before.tensors)
    throw new Error(`${backend}: ${steps} steps left ${after.tensors - before.tensors} tensors`);
  if (backend === 'webgpu' && after.bytes > before.bytes) {
    throw new Error(`${backend}: ${steps} steps left ${after.bytes - before.bytes} bytes on the GPU`);
  }
  const engine = tf.backend() as unknown as Partial<Profiling>;
  const dispatched = engine.dispatches ?? 0;
  const profile = backend === 'webgpu' ? await engine.profile!(() => void method.step(batch).dispose()) : [];
  const recorded = method.recorder?.counts ?? null;
  method.dispose();
  model.dispose();
  return {
    ...{ backend, device, layers, vocabulary, length, sparse, weights, firstStepMs, before, after },
    ...{ ms: quantiles(whole), hostMs: quantiles(host), pipelinedMs, losses: [losses[0], losses.at(-1)] },
    recorded,
    bindGroupsMade: (engine as { bindGroupsMade?: number }).bindGroupsMade ?? 0,
    dispatches: (engine.dispatches ?? 0) - dispatched,
    profile,
  };
}

/** Bytes that tensors and what lies unused hold on the GPU, or of tensors. */
function bytesOf(): number {
  const memory = tf.memory() as tf.MemoryInfo & { numBytesAllocatedInGPU?: number };
  return memory.numBytesAllocatedInGPU ?? memory.numBytes;
}
