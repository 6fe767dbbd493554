/**
 * @file Generation measured: milliseconds a token on the GPU's own clock and on the wall, beside the time of reading the weights once. First that the tokens
 * are right: those of the host's launches to the last one, and likeliest by whole passes over prompt and answer, which share no kernel of a step's.
 */
import { type CudaBackend, readOnly } from '@spft/backend-cuda';
import { generate, IGNORE_INDEX, type LlamaForCausalLM } from '@spft/models';
import { Decoder, RecordedDecoder } from '@spft/models/internals';
import { createStepRecorder, packTokens } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { quantiles } from '../support/quantiles.js';
import { integers } from '../support/random.js';
import type { RowResult } from './measure.js';

export interface GenerationRow {
  readonly name: string;
  readonly shape?: 'smollm2';
  readonly basePrecision?: 'fp8';
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
  { name: 'generate_smollm2', shape: 'smollm2', sequences: 1, prompt: 512, tokens: 256 },
];

/**
 * Share of tokens that must be the likeliest of another way, and by how much of a logit another may be likelier. Weights are random and logits of 128,256
 * tokens normal, up to 5: the two likeliest are 0.3 apart on average, where bf16 rounds them to 0.03, so some of the tokens are others.
 */
const ALLOWED = { share: 0.8, behind: 0.25 };

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
  // A whole pass on weights in FP8 rounds activations to codes, which steps do not: there is only the way that every backend has.
  const ways = row.basePrecision ? [bySteps] : [byWholePass, bySteps];
  const verified = ways
    .map((way) =>
      check(
        name,
        way.name,
        answers.map((answer, n) => way(model, prompts[n]!, answer)),
      ),
    )
    .join('; ');
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

interface Agreement {
  /** Share of tokens that are the likeliest. */
  readonly same: number;
  /** By how much a token's logit is behind the likeliest's, at most. */
  readonly behind: number;
}

/** Of logits [answer.length, V] of a prompt and an answer as far as it goes. */
function agreement(logits: tf.Tensor2D, answer: readonly number[]): Agreement {
  const found = { same: 0, behind: 0 };
  tf.tidy(() => {
    const [most, best] = [tf.max(logits, 1).dataSync(), tf.argMax(logits, 1).dataSync()];
    const places = Int32Array.from(answer, (token, n) => n * logits.shape[1] + token);
    const chosen = tf.gather(tf.reshape(logits, [-1]), tf.tensor1d(places, 'int32')).dataSync();
    const same = answer.filter((token, n) => token === best[n]).length / answer.length;
    Object.assign(found, { same, behind: Math.max(...answer.map((_, n) => most[n]! - chosen[n]!)) });
  });
  return found;
}

/** One pass over prompt and answer, as in training. */
function byWholePass(model: LlamaForCausalLM, prompt: readonly number[], answer: readonly number[]): Agreement {
  const inputIds = Int32Array.from([...prompt, ...answer.slice(0, -1)]);
  const layout = packTokens({ lengths: [inputIds.length], dense: () => true });
  const logits = tf.tidy(() => {
    const all = model.logits({ inputIds, labels: new Int32Array(inputIds.length).fill(IGNORE_INDEX), layout });
    return tf.slice(all, [prompt.length - 1, 0], [answer.length, -1]);
  });
  const found = agreement(logits, answer);
  logits.dispose();
  return found;
}

/** Steps by single ops, with keys and values joined anew in each. */
function bySteps(model: LlamaForCausalLM, prompt: readonly number[], answer: readonly number[]): Agreement {
  const decoder = new Decoder(model, { greedy: false });
  let logits = decoder.prefill([prompt]) as tf.Tensor2D;
  const each = answer.map((token, n) => {
    const found = agreement(logits, [token]);
    logits.dispose();
    if (n + 1 < answer.length) logits = decoder.step([token]) as tf.Tensor2D;
    return found;
  });
  decoder.dispose();
  return {
    same: each.reduce((sum, { same }) => sum + same, 0) / each.length,
    behind: Math.max(...each.map(({ behind }) => behind)),
  };
}

const WAYS: Readonly<Record<string, string>> = { byWholePass: 'a whole pass', bySteps: 'steps by single ops' };

function check(row: string, way: string, found: readonly Agreement[]): string {
  const [same, behind] = [Math.min(...found.map(({ same }) => same)), Math.max(...found.map(({ behind }) => behind))];
  const fact = `${(100 * same).toFixed(1)} % of the tokens are the likeliest by ${WAYS[way]}, none is more than ${behind.toFixed(3)} behind in logits`;
  if (!(same >= ALLOWED.share && behind <= ALLOWED.behind)) throw new Error(`${row}: ${fact}`);
  return fact;
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
