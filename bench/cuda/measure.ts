/** @file One row measured: milliseconds a step on the GPU's own clock, memory at the peak, and where the time went. */
import type { CudaBackend } from '@spft/backend-cuda';
import type { LlamaForCausalLM } from '@spft/models';
import * as tf from '@tensorflow/tfjs';
import { quantiles } from '../support/quantiles.js';
import { floorMilliseconds } from './floor.js';
import { rowBatch } from './llama.js';
import { attach } from './method.js';
import type { Row } from './rows.js';

export interface MeasureOptions {
  readonly steps: number;
  readonly warmup: number;
  /** Folder of sparsity files. */
  readonly configs: string;
  /** Steps of the profile; 0 for none. */
  readonly profiled: number;
  readonly floorRounds: number;
}

export interface RowResult {
  readonly name: string;
  readonly msPerStep: number;
  readonly p20: number;
  readonly p80: number;
  readonly tokensPerSecond: number;
  /** Of tensors and workspaces: what PyTorch calls max_memory_allocated. */
  readonly peakGiB: number;
  /** Taken from the system by the driver's pool: what PyTorch calls max_memory_reserved. */
  readonly reservedGiB?: number;
  /** Milliseconds of the step's frozen products alone, repeated. */
  readonly floorMs?: number;
  /** Milliseconds of the host alone for one step: launching, with a GPU that has nothing else to do and is not waited for. */
  readonly hostMs?: number;
  /** Kernels and products that the host launched for a step one by one; 0 where it launched a graph. */
  readonly launches?: number;
  /** Milliseconds that the first step took on the host, and the second, which is recorded. */
  readonly firstStepsMs?: readonly number[];
  readonly predictorSeconds?: number;
  readonly losses?: readonly number[];
  /** Milliseconds a step by kernel, largest first. */
  readonly profile?: readonly { readonly name: string; readonly calls: number; readonly ms: number }[];
}

/** Steps of which the host's time is measured. */
const HOST_STEPS = 7;

/** @throws Error when a loss is not finite: what was timed would be no training. */
export async function measureRow(model: LlamaForCausalLM, row: Row, options: MeasureOptions): Promise<RowResult> {
  const { steps, warmup, configs, profiled, floorRounds } = options;
  const backend = tf.backend() as CudaBackend;
  const { device } = backend;
  const method = await attach(model, row, configs);
  const batch = rowBatch(model.config.vocabSize, row);
  const losses: tf.Scalar[] = [];
  const firstStepsMs: number[] = [];
  const first = timed(() => {
    const loss = method.step(batch);
    device.synchronize();
    return loss;
  }, firstStepsMs);
  backend.memoryPool.resetPeak();
  for (let n = 1; n < warmup; n++)
    losses.push(n === 1 ? timed(() => method.step(batch), firstStepsMs) : method.step(batch));
  const held = { bytes: backend.memoryPool.bytes, tensors: backend.numDataIds(), counts: method.recorder?.counts };
  const events = [device.recordEvent()];
  const before = backend.launches;
  for (let n = 0; n < steps; n++) {
    losses.push(method.step(batch));
    events.push(device.recordEvent());
  }
  const after = backend.launches;
  // A loss a step is kept.
  const [bytes, tensors] = [backend.memoryPool.bytes - held.bytes, backend.numDataIds() - held.tensors];
  const settled = held.counts?.recorded === method.recorder?.counts.recorded;
  if (settled && (bytes > 16 * steps || tensors > steps)) {
    throw new Error(
      `${row.name}: ${steps} steps left ${tensors} tensors and ${bytes} bytes behind, where a loss each was wanted`,
    );
  }
  device.synchronize();
  const taken = quantiles(events.slice(1).map((event, n) => device.elapsed(events[n]!, event)));
  const peakGiB = backend.memoryPool.peakBytes / 2 ** 30;
  const reservedGiB = backend.memoryPool.peakReservedBytes / 2 ** 30;
  for (const event of events) device.call('cuEventDestroy_v2', event);
  const hostTimes: number[] = [];
  for (let n = 0; n < HOST_STEPS; n++) {
    device.synchronize();
    losses.push(timed(() => method.step(batch), hostTimes));
  }
  device.synchronize();
  const hostMs = quantiles(hostTimes).p50;

  const profile =
    profiled === 0
      ? []
      : backend.profile(() => {
          for (let n = 0; n < profiled; n++) method.step(batch).dispose();
        });
  const values = [first, ...losses].map((loss) => loss.dataSync()[0]!);
  tf.dispose([first, ...losses]);
  if (!values.every(Number.isFinite))
    throw new Error(`${row.name}: a loss is not finite (${values.slice(0, 8).join(', ')})`);
  const kept = keptOf(method.summary(), model.layerCount);
  const floorMs = floorRounds > 0 ? floorMilliseconds(model, batch, kept, floorRounds) : undefined;
  method.dispose();
  return {
    name: row.name,
    msPerStep: round(taken.p50),
    p20: round(taken.p20),
    p80: round(taken.p80),
    tokensPerSecond: Math.round((1000 * batch.layout.tokens) / taken.p50),
    peakGiB: round(peakGiB),
    reservedGiB: round(reservedGiB),
    ...(floorMs !== undefined && { floorMs: round(floorMs) }),
    hostMs: round(hostMs),
    firstStepsMs: firstStepsMs.map(round),
    launches: (after.kernels + after.products - before.kernels - before.products) / steps,
    ...(row.sparsity !== null && { predictorSeconds: round(method.predictorSeconds) }),
    losses: [values[0]!, values[1]!, values.at(-1)!].map((x) => Math.round(x * 1e4) / 1e4),
    profile: profile.map(({ name, calls, milliseconds }) => ({
      name,
      calls: calls / profiled,
      ms: Math.round((1000 * milliseconds) / profiled) / 1000,
    })),
  };
}

/** Runs `f` and adds the milliseconds that it takes to a list. */
function timed<T>(f: () => T, to: number[]): T {
  const started = performance.now();
  const value = f();
  to.push(performance.now() - started);
  return value;
}

const round = (x: number): number => Math.round(x * 100) / 100;

function keptOf(summary: ReturnType<Awaited<ReturnType<typeof attach>>['summary']>, layers: number) {
  return Array.from({ length: layers }, (_, n) => {
    const layer = summary?.[n];
    const of = (module: { kept: number; total: number } | undefined) =>
      module && module.kept < module.total ? module.kept : null;
    return { mlp: of(layer?.mlp), kv: of(layer?.selfAttn) };
  });
}
