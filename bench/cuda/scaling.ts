/**
 * @file One rank of `scripts/device/scaling.sh`: LoRA and SparseLoRA on several GPUs, data parallel or with a base in shards, on shapes of Llama with random
 * weights. Every rank runs it, under torchrun, mpirun or alone; rank 0 writes the result.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import '@spft/backend-cuda';
import type { CudaBackend } from '@spft/backend-cuda';
import { gpuOfRank, NcclTensors, type OpenedGroup, openProcessGroup, type TensorCollective } from '@spft/distributed';
import type { LlamaConfig } from '@spft/models';
import { clipScale, globalNorm } from '@spft/sparse-ops';
import { RecordedSteps } from '@spft/trainer';
import { createOptimizer, GradientSum, lossAndGradients, resolveArgs, sizeOf } from '@spft/trainer/internals';
import * as tf from '@tensorflow/tfjs';
import { quantiles } from '../support/quantiles.js';
import { LLAMA3_8B, type RowBatch, randomLlama, rowBatch } from './llama.js';
import { attachTrained } from './method.js';
import { ROWS, type Row } from './rows.js';

const HELP = `One rank of a measurement on several GPUs; start it under torchrun --no-python or mpirun, or alone for one.

  --what WHAT        losses: --steps losses of a step over all ranks' batches, or over --batches of them on one rank, and a digest of the adapters
                     speed: milliseconds a step of --rows
                     shards: the same as speed with --sharded
                     bandwidth: GB/s of an all-reduce and of an all-gather
                     endless: steps, each said, until somebody ends it
  --rows LIST        dense_lora, sparselora_math10k (default both)
  --shape SHAPE      8b (default), 70b, tiny
  --layers N         of the model, for trying things
  --steps N, --warmup N, --batches N (batches of a step: default the number of ranks), --batch N (sequences of a batch)
  --sharded          the base's weights in shards
  --checkpointing    gradient checkpointing
  --host             steps launched call by call; recorded by default, sums over ranks inside, as the trainer does
  --configs DIR      sparsity files (default configs/sparsity)
  --json FILE        written by rank 0, --pids FILE by every rank of an endless run: FILE.RANK with its process's number`;

const { values: flags } = parseArgs({
  options: {
    ...{
      what: { type: 'string', default: 'speed' },
      rows: { type: 'string', default: 'dense_lora,sparselora_math10k' },
    },
    ...{ shape: { type: 'string', default: '8b' }, layers: { type: 'string' }, batch: { type: 'string' } },
    ...{ steps: { type: 'string', default: '20' }, warmup: { type: 'string', default: '5' } },
    ...{ batches: { type: 'string' }, checkpointing: { type: 'boolean', default: false } },
    sharded: { type: 'boolean', default: false },
    host: { type: 'boolean', default: false },
    pids: { type: 'string' },
    ...{
      configs: { type: 'string', default: 'configs/sparsity' },
      json: { type: 'string' },
      help: { type: 'boolean' },
    },
  },
});

const LLAMA3_70B: LlamaConfig = {
  ...LLAMA3_8B,
  ...{ hiddenSize: 8192, intermediateSize: 28672, numHiddenLayers: 80, numAttentionHeads: 64 },
};
/** For the emulator. */
const TINY: LlamaConfig = {
  ...LLAMA3_8B,
  ...{ vocabSize: 512, hiddenSize: 64, intermediateSize: 128, numHiddenLayers: 4 },
  ...{ numAttentionHeads: 4, numKeyValueHeads: 2, headDim: 16 },
};

interface Ranks {
  readonly rank: number;
  readonly size: number;
  /** Null where this process is alone. */
  readonly tensors: TensorCollective | null;
  readonly nccl: NcclTensors | null;
  readonly group: OpenedGroup | null;
  readonly close: () => Promise<void>;
}

async function openRanks(): Promise<Ranks> {
  const group = await openProcessGroup(process.env);
  if (group) process.env.SPFT_CUDA_DEVICE = gpuOfRank(process.env, group.localRank);
  if (!(await tf.setBackend('cuda'))) throw new Error("backend 'cuda' did not start; 'spft doctor' says why");
  if (!group) return { rank: 0, size: 1, tensors: null, nccl: null, group: null, close: async () => {} };
  let connected: NcclTensors | null = null;
  group.onEnd((error) => {
    // Its kernels wait for a rank that is gone, and the process would wait for them.
    connected?.abort();
    if (group.speaks) console.error(`error: ${error.message}`);
    process.exit(1);
  });
  const nccl = await NcclTensors.connect(group, hostname());
  group.useTensors(nccl);
  connected = nccl;
  return { rank: group.rank, size: group.size, tensors: nccl, nccl, group, close: () => group.close() };
}

const backendOf = () => tf.backend() as CudaBackend;

function configOf(): LlamaConfig {
  const shapes: Readonly<Record<string, LlamaConfig>> = { '8b': LLAMA3_8B, '70b': LLAMA3_70B, tiny: TINY };
  const shape = shapes[flags.shape!];
  if (!shape) throw new RangeError(`--shape is ${flags.shape}, must be one of ${Object.keys(shapes).join(', ')}`);
  return flags.layers ? { ...shape, numHiddenLayers: Number(flags.layers) } : shape;
}

function rowsOf(): Row[] {
  return flags.rows!.split(',').map((name) => {
    const row = ROWS.find((each) => each.name === name);
    if (!row) throw new RangeError(`there is no row '${name}'; there are ${ROWS.map((each) => each.name).join(', ')}`);
    const tiny =
      flags.shape === 'tiny' ? { batch: 2, length: 24, labelled: 8, sparsity: row.sparsity && TINY_SPARSE } : {};
    return { ...row, ...(flags.batch && { batch: Number(flags.batch) }), ...tiny };
  });
}

const TINY_SPARSE = {
  mode: 'svd_4',
  sparsity: { 'layers.2.mlp': 0.5, 'layers.3.mlp': 0.5, 'layers.3.self_attn': 0.5 },
};

/** Forward, backward, sums over ranks, clipping, AdamW. */
class Steps {
  readonly #optimizer;
  #recorded: RecordedSteps | null | undefined;

  constructor(
    readonly ranks: Ranks,
    readonly method: Awaited<ReturnType<typeof attachTrained>>,
  ) {
    this.#optimizer = createOptimizer(method.trained.variables, resolveArgs({}));
  }

  /** @param batches of this rank; @param labelled tokens of all ranks' batches. @returns this rank's part of the loss. */
  step(batches: readonly RowBatch[], labelled: number): tf.Scalar {
    return this.#recordedStep(batches, labelled) ?? this.#byHost(batches, labelled);
  }

  /** Steps recorded and repeated so far. */
  get counts() {
    return this.#recorded?.recorder.counts ?? null;
  }

  #recordedStep(batches: readonly RowBatch[], labelled: number): tf.Scalar | null {
    const { trained } = this.method;
    if (flags.host || batches.length > 1 || !trained.recordable) return null;
    const prepared = batches.map((batch) => ({ layout: batch.layout, rows: trained.recordable!.rows(batch) }));
    const rules = { maxGradNorm: 1, gradientCheckpointing: flags.checkpointing! };
    const sizes = () => ({ sizes: prepared.map(({ layout, rows }) => sizeOf(layout, rows)), isAll: true });
    this.#recorded ??= RecordedSteps.of(trained, this.#optimizer, rules, sizes, console.error, this.ranks.group);
    const values = { batches: prepared, seeds: [3], normalizer: labelled, learningRate: 3e-4 };
    const result = this.#recorded?.step(values);
    result?.gradientNorm.dispose();
    return result?.losses[0] ?? null;
  }

  #byHost(batches: readonly RowBatch[], labelled: number): tf.Scalar {
    const sum = new GradientSum();
    const losses: tf.Scalar[] = [];
    for (const batch of batches) {
      const options = { training: true, seed: 3, normalizer: labelled, gradientCheckpointing: flags.checkpointing! };
      const { loss, gradients } = lossAndGradients(this.method.trained, batch, options);
      losses.push(loss);
      sum.add(gradients);
    }
    const { tensors } = this.ranks;
    const gradients = tensors ? tensors.allReduce(sum.tensors).wait() : sum.tensors;
    const gradientScale = tf.tidy(() => clipScale(globalNorm([...gradients]), 1));
    this.#optimizer.step(gradients, { learningRate: 3e-4, gradientScale });
    tf.dispose([gradientScale, ...gradients]);
    const loss = tf.tidy(() => losses.reduce((a, b) => tf.add(a, b)));
    if (losses.length > 1) tf.dispose(losses);
    return losses.length > 1 ? loss : losses[0]!;
  }

  dispose(): void {
    this.#recorded?.dispose();
    this.#optimizer.dispose();
    this.method.dispose();
  }
}

/** Batch `n` of all that there are; the same on whatever rank. */
function batchOf(vocabulary: number, row: Row, n: number): RowBatch {
  const made = rowBatch(vocabulary, row);
  const turned = made.inputIds.map((id, t) => (id + 7919 * n + t * n) % vocabulary);
  return { ...made, inputIds: turned, labels: made.labels.map((label, t) => (label < 0 ? label : turned[t]!)) };
}

/** A loss of the whole step, read. */
async function wholeLoss(ranks: Ranks, part: tf.Scalar): Promise<number> {
  const [whole] = ranks.tensors ? ranks.tensors.allReduce([part]).wait() : [part];
  const [value] = await whole!.data();
  whole!.dispose();
  if (!Number.isFinite(value)) throw new Error(`the loss is ${value}: what was timed would be no training`);
  return value!;
}

async function losses(ranks: Ranks, model: Awaited<ReturnType<typeof randomLlama>>, row: Row) {
  const batches = Number(flags.batches ?? ranks.size);
  const steps = new Steps(ranks, await attachTrained(model, row, flags.configs!));
  const found: number[] = [];
  for (let step = 0; step < Number(flags.steps); step++) {
    const own = Array.from({ length: batches }, (_, n) => n)
      .filter((n) => n % ranks.size === ranks.rank)
      .map((n) => batchOf(model.config.vocabSize, row, step * batches + n));
    found.push(await wholeLoss(ranks, steps.step(own, batches * own[0]!.labelledTokens)));
  }
  const variables = [...steps.method.trained.variables.values()];
  const norm = tf.tidy(() => globalNorm(variables).dataSync()[0]!);
  const { counts } = steps;
  steps.dispose();
  return { row: row.name, batches, losses: found, adapters: norm, recorded: counts?.replayed ?? 0 };
}

async function speed(ranks: Ranks, model: Awaited<ReturnType<typeof randomLlama>>, row: Row) {
  const { device, memoryPool } = backendOf();
  const steps = new Steps(ranks, await attachTrained(model, row, flags.configs!));
  const batch = [batchOf(model.config.vocabSize, row, ranks.rank)];
  const labelled = ranks.size * batch[0]!.labelledTokens;
  let loss = steps.step(batch, labelled);
  memoryPool.resetPeak();
  for (let n = 1; n < Number(flags.warmup); n++) {
    loss.dispose();
    loss = steps.step(batch, labelled);
  }
  device.synchronize();
  const events = [device.recordEvent()];
  const began = performance.now();
  for (let n = 0; n < Number(flags.steps); n++) {
    loss.dispose();
    loss = steps.step(batch, labelled);
    events.push(device.recordEvent());
  }
  device.synchronize();
  const wallMs = (performance.now() - began) / Number(flags.steps);
  const taken = quantiles(events.slice(1).map((event, n) => device.elapsed(events[n]!, event)));
  for (const event of events) device.destroyEvent(event);
  const last = await wholeLoss(ranks, loss);
  const { counts } = steps;
  steps.dispose();
  const tokens = ranks.size * batch[0]!.layout.tokens;
  return {
    ...{ row: row.name, msPerStep: taken.p50, p20: taken.p20, p80: taken.p80, wallMs, tokens },
    ...{ tokensPerSecond: (1000 * tokens) / taken.p50, peakGiB: memoryPool.peakBytes / 2 ** 30, loss: last, counts },
  };
}

/** GB/s that a GPU gets in a gather and in a sum of so many MiB. */
function bandwidth(): object[] {
  const backend = backendOf();
  const { communicator, device } = backend;
  const results: object[] = [];
  const time = (calls: () => void) => {
    const run = () => communicator.join(communicator.launch(calls));
    for (let n = 0; n < 3; n++) run();
    device.synchronize();
    return quantiles(Array.from({ length: 10 }, () => device.milliseconds(run))).p50;
  };
  for (const mib of flags.shape === 'tiny' ? [1] : [1, 16, 128, 1024]) {
    const bytes = mib * 2 ** 20;
    backend.scratch(bytes, (address) => {
      backend.device.call('cuMemsetD8Async', address, 0, bytes, device.stream);
      const part = bytes / communicator.size;
      const gather = time(() => communicator.allGather(address + communicator.rank * part, address, part, 'bytes'));
      const sum = time(() => communicator.allReduce(address, address, bytes / 4, 'f32'));
      // As NCCL's tests count: what a GPU gets of the others, which a sum does twice.
      const gbps = (ms: number) => (bytes * (communicator.size - 1)) / communicator.size / ms / 1e6;
      results.push({ mib, gatherMs: gather, gatherGBps: gbps(gather), sumMs: sum, sumGBps: 2 * gbps(sum) });
    });
  }
  return results;
}

async function main(): Promise<void> {
  const ranks = await openRanks();
  const { device } = backendOf();
  const say = (line: string) => ranks.rank === 0 && console.error(line);
  const started = performance.now();
  const rows: unknown[] = [];
  const result = {
    ...{
      what: flags.what,
      shape: flags.shape,
      ranks: ranks.size,
      device: device.info.name,
      driver: device.info.driver,
    },
    ...{ nccl: ranks.nccl?.version ?? null, layers: configOf().numHiddenLayers, checkpointing: flags.checkpointing },
    date: new Date().toISOString(),
  };
  const save = (extra: object = {}) => {
    if (ranks.rank !== 0 || !flags.json) return;
    mkdirSync(dirname(flags.json), { recursive: true });
    writeFileSync(flags.json, `${JSON.stringify({ ...result, ...extra, rows }, null, 2)}\n`);
  };
  if (flags.what === 'bandwidth') {
    rows.push(...bandwidth());
    for (const row of rows) say(JSON.stringify(row));
  } else {
    const sharded = flags.sharded || flags.what === 'shards';
    const shards = sharded && ranks.nccl ? ranks.nccl.shardWeights() : null;
    const model = await randomLlama(configOf(), 'bf16', { shards });
    device.synchronize();
    const loadSeconds = (performance.now() - started) / 1000;
    say(`${flags.shape} on ${ranks.size} in ${loadSeconds.toFixed(1)} s`);
    for (const row of rowsOf()) {
      if (flags.what === 'endless') {
        const { pids } = flags;
        if (pids) writeFileSync(`${pids}.${ranks.rank}`, String(process.pid));
        const steps = new Steps(ranks, await attachTrained(model, row, flags.configs!));
        for (let step = 1; ; step++) {
          const batch = [batchOf(model.config.vocabSize, row, step * ranks.size + ranks.rank)];
          const loss = await wholeLoss(ranks, steps.step(batch, ranks.size * batch[0]!.labelledTokens));
          say(`step ${step} loss ${loss} pid ${process.pid}`);
        }
      }
      rows.push(flags.what === 'losses' ? await losses(ranks, model, row) : await speed(ranks, model, row));
      say(JSON.stringify(rows.at(-1)));
      save({ loadSeconds, ...(shards && { gathers: (shards as { counts?: object }).counts }) });
    }
    model.dispose();
  }
  save();
  await ranks.close();
}

if (flags.help) console.log(HELP);
else if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main().catch(async (error: Error & { readonly code?: string }) => {
    // What GPUs notice of a rank that is gone does not name it; what the hosts notice does, a moment later, and ends this.
    if (error.code === 'SPFT_NCCL') await new Promise((resolve) => setTimeout(resolve, 3000));
    console.error(`scaling: ${error.stack}`);
    process.exit(1);
  });
  process.exit(0);
}
