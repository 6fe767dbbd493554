/**
 * @file Generation measured: milliseconds a token on the GPU's own clock and on the wall, beside the time of reading the weights once. First that it is
 * right: tokens are those of the host's launches to the last one, and logits those of whole passes over prompt and answer, which share no kernel of a step's.
 */
import { type CudaBackend, readOnly } from '@spft/backend-cuda';
import { generate, IGNORE_INDEX, type LlamaForCausalLM } from '@spft/models';
import { Decoder, RecordedDecoder, type TokenDecoder } from '@spft/models/internals';
import { createStepRecorder, packTokens } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { quantiles } from '../support/quantiles.js';
import { integers } from '../support/random.js';
import type { RowResult } from './measure.js';

export interface GenerationRow {
  readonly name: string;
  readonly shape?: 'smollm2';
  readonly basePrecision?: 'fp8' | 'nf4';
  readonly modulesToNotConvert?: readonly string[];
  readonly keepTransposed?: boolean;
  /** Sequences at once, tokens of each prompt, tokens that come. */
  readonly sequences: number;
  readonly prompt: number;
  readonly tokens: number;
}

export const GENERATIONS: readonly GenerationRow[] = [
  { name: 'generate_8b', sequences: 1, prompt: 512, tokens: 256 },
  { name: 'generate_8b_4', sequences: 4, prompt: 512, tokens: 256 },
  { name: 'generate_8b_fp8', basePrecision: 'fp8', sequences: 1, prompt: 512, tokens: 256 },
  { name: 'generate_8b_nf4', basePrecision: 'nf4', sequences: 1, prompt: 512, tokens: 256 },
  { name: 'generate_smollm2', shape: 'smollm2', sequences: 1, prompt: 512, tokens: 256 },
];

/**
 * ‖a − b‖ / ‖b‖ of all logits of an answer, by a step and by another way, that is allowed: tokens are no measure, as weights are random, and of 128,256
 * normal logits the two likeliest are so near that in bf16, after 32 layers, a sixth of the tokens are others (none more than 0.4 behind, of 5). Logits
 * that have nothing to do with each other are 1.4 apart.
 */
const ALLOWED = 0.15;
/** In NF4 whole passes multiply by numbers rounded to bf16, steps by the numbers themselves: in each product about as much again as bf16's rounding of it. */
const ALLOWED_NF4 = 0.25;

interface GenerationResult extends RowResult {
  /** Milliseconds a token that comes out of `generate`, reading it included. */
  readonly wallMs: number;
  /** Bytes of the weights that a token reads, over msPerStep. */
  readonly gigabytesPerSecond: number;
  /** msPerStep over the time of reading the weights. */
  readonly ofFloor: number;
  readonly verified: string;
}

/** @throws Error when the tokens are not right. */
export async function measureGeneration(model: LlamaForCausalLM, row: GenerationRow): Promise<GenerationResult> {
  const backend = tf.backend() as CudaBackend;
  const { device } = backend;
  const { sequences, prompt, tokens, name } = row;
  const ids = integers(sequences * prompt, model.config.vocabSize, 7);
  const prompts = Array.from({ length: sequences }, (_, n) => [...ids.subarray(n * prompt, (n + 1) * prompt)]);
  const times: number[] = [];
  const onToken = () => void times.push(performance.now());
  const asked = { maxNewTokens: tokens, eosTokenIds: [] };
  const answers = await generate(model, prompts, { ...asked, onToken });
  const byHost = await hostAlone(backend, () => generate(model, prompts, asked));
  if (JSON.stringify(byHost) !== JSON.stringify(answers))
    throw new Error(`${name}: recorded steps gave other tokens than the host's`);
  const distances = verify(model, row, prompts, answers).map((distance) => distance.toFixed(3));
  const ways = row.basePrecision === 'fp8' ? 'single ops' : 'whole passes and by single ops';
  const verified = `tokens as by the host's launches; logits within ${distances.join(' and ')} of those by ${ways}`;
  const wall = times.filter((_, n) => n % sequences === 0).slice(16);

  backend.memoryPool.resetPeak();
  const decoder = new RecordedDecoder(model, { greedy: true, maxNewTokens: tokens });
  let chosen = decoder.prefill(prompts) as tf.Tensor1D;
  const events: number[] = [];
  let launches = 0;
  for (let n = 1; n < tokens; n++) {
    if (n === 8) {
      device.synchronize();
      launches = backend.launches.kernels + backend.launches.products;
    }
    if (n >= 8) events.push(device.recordEvent());
    const next = decoder.step(chosen) as tf.Tensor1D;
    chosen.dispose();
    chosen = next;
  }
  events.push(device.recordEvent());
  device.synchronize();
  launches = backend.launches.kernels + backend.launches.products - launches;
  const taken = quantiles(events.slice(1).map((event, n) => device.elapsed(events[n]!, event)));
  for (const event of events) device.destroyEvent(event);
  const peakGiB = backend.memoryPool.peakBytes / 2 ** 30;
  const profile = backend.profile(() => {
    const next = decoder.step(chosen) as tf.Tensor1D;
    chosen.dispose();
    chosen = next;
  });
  chosen.dispose();
  decoder.dispose();
  const floor = readingMilliseconds(backend, model);
  return {
    name,
    msPerStep: round(taken.p50),
    ...{ p20: round(taken.p20), p80: round(taken.p80), tokensPerSecond: Math.round((1000 * sequences) / taken.p50) },
    ...{ peakGiB: round(peakGiB), floorMs: round(floor), launches: launches / (events.length - 1) },
    wallMs: round((wall.at(-1)! - wall[0]!) / (wall.length - 1)),
    gigabytesPerSecond: Math.round(weightBytes(backend, model) / taken.p50 / 1e6),
    ofFloor: round(taken.p50 / floor),
    verified,
    profile: profile.map(({ name, calls, milliseconds }) => ({
      name,
      calls,
      ms: Math.round(1000 * milliseconds) / 1000,
    })),
  };
}

const round = (x: number): number => Math.round(x * 1000) / 1000;

/** Runs `f` with nothing recorded. */
async function hostAlone<T>(backend: CudaBackend, f: () => Promise<T>): Promise<T> {
  const { recordSteps } = backend;
  backend.recordSteps = () => null;
  try {
    return await f();
  } finally {
    backend.recordSteps = recordSteps;
  }
}

type Sequences = readonly (readonly number[])[];

/** Logits of the steps of a decoder that is told the answers, [tokens, V] of each sequence; owned by the caller. Ends the decoder. */
function logitsOf(decoder: TokenDecoder, prompts: Sequences, answers: Sequences): tf.Tensor2D[] {
  const steps: tf.Tensor2D[] = [decoder.prefill(prompts) as tf.Tensor2D];
  for (let n = 0; n + 1 < answers[0]!.length; n++) {
    steps.push(decoder.step(answers.map((answer) => answer[n]!)) as tf.Tensor2D);
  }
  decoder.dispose();
  const each = answers.map((_, row) =>
    tf.tidy(() =>
      tf.concat(
        steps.map((step) => tf.slice(step, [row, 0], [1, -1])),
        0,
      ),
    ),
  );
  tf.dispose(steps);
  return each;
}

/** By one pass over prompt and answer each, as in training. */
const byWholePass = (model: LlamaForCausalLM, prompts: Sequences, answers: Sequences): tf.Tensor2D[] =>
  prompts.map((prompt, n) => {
    const inputIds = Int32Array.from([...prompt, ...answers[n]!.slice(0, -1)]);
    const layout = packTokens({ lengths: [inputIds.length], dense: () => true });
    return tf.tidy(() => {
      const all = model.logits({ inputIds, labels: new Int32Array(inputIds.length).fill(IGNORE_INDEX), layout });
      return tf.slice(all, [prompt.length - 1, 0], [answers[n]!.length, -1]);
    });
  });

/** By steps of single ops, with keys and values joined anew in each. */
const bySteps = (model: LlamaForCausalLM, prompts: Sequences, answers: Sequences): tf.Tensor2D[] =>
  logitsOf(new Decoder(model, { greedy: false }), prompts, answers);

/**
 * Holds what was generated against other ways. A whole pass on weights in FP8 rounds activations to codes, which steps do not: there are single ops alone.
 * @returns the greatest distance from each way.
 * @throws Error when the tokens are not the likeliest of a step's own logits, or these are too far from another way's.
 */
function verify(model: LlamaForCausalLM, row: GenerationRow, prompts: Sequences, answers: Sequences): number[] {
  const steps = new RecordedDecoder(model, { greedy: false, maxNewTokens: answers[0]!.length });
  const own = logitsOf(steps, prompts, answers);
  own.forEach((logits, n) => {
    const likeliest = tf.tidy(() => [...tf.argMax(logits, 1).dataSync()]);
    if (likeliest.join() !== answers[n]!.join())
      throw new Error(`${row.name}: tokens are not the likeliest of a step's own logits`);
  });
  const found = (row.basePrecision === 'fp8' ? [bySteps] : [byWholePass, bySteps]).map((way) => {
    const others = way(model, prompts, answers);
    const distance = Math.max(...own.map((logits, n) => distanceOf(logits, others[n]!)));
    tf.dispose(others);
    if (!(distance <= (row.basePrecision === 'nf4' ? ALLOWED_NF4 : ALLOWED)))
      throw new Error(`${row.name}: logits are ${distance.toFixed(3)} apart from those by ${way.name}`);
    return distance;
  });
  tf.dispose(own);
  return found;
}

/** ‖a − b‖ / ‖b‖. */
function distanceOf(a: tf.Tensor2D, b: tf.Tensor2D): number {
  const squares = (of: () => tf.Tensor) => {
    const sum = tf.tidy(() => tf.sum(tf.square(of())));
    const value = sum.dataSync()[0]!;
    sum.dispose();
    return value;
  };
  return Math.sqrt(squares(() => tf.sub(a, b)) / squares(() => b));
}

/** What a token reads; of the embedding it is a row. */
const matricesOf = (model: LlamaForCausalLM) => [
  ...[...model.linears.values()].map(({ weight }) => weight),
  model.embeddingLayers.outputWeight,
];

const weightBytes = (backend: CudaBackend, model: LlamaForCausalLM): number =>
  matricesOf(model).reduce((sum, weight) => sum + readOnly(backend, weight), 0);

/** Milliseconds of reading all matrices of a token once, one after the other by one launch of a graph. */
function readingMilliseconds(backend: CudaBackend, model: LlamaForCausalLM): number {
  const matrices = matricesOf(model);
  const recorder = createStepRecorder({ graphs: 1 });
  const read = () => {
    for (const matrix of matrices) readOnly(backend, matrix);
    return [];
  };
  const once = () => (recorder ? recorder.run('read', { none: new Int32Array(1) }, read) : read());
  for (let n = 0; n < 4; n++) once();
  const taken = quantiles(Array.from({ length: 21 }, () => backend.device.milliseconds(once)));
  recorder?.dispose();
  return taken.p50;
}
