/** @file Generation by recorded steps: the tokens of the same steps by the host and of the way that every backend has, and nothing left behind. */
import { type GenerateOptions, generate, LlamaForCausalLM } from '@spft/models';
import { Decoder, RecordedDecoder, type TokenDecoder } from '@spft/models/internals';
import { getPeftModel } from '@spft/peft';
import type { StepRecorder } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { afterEach, expect, it, vi } from 'vitest';
import { sourceOf, TINY, tinyWeights } from '../../../models/test/tiny.js';
import { cuda, describeCuda } from '../../test/cuda.js';

const CONFIG = {
  ...TINY,
  hiddenSize: 32,
  intermediateSize: 64,
  headDim: 8,
  numHiddenLayers: 2,
  maxPositionEmbeddings: 512,
};
const PROMPTS = [[5, 9, 11, 30, 8], [7, 21], [3, 4, 6, 33, 12, 35, 9], [17]];

const made = (precision: 'bf16' | 'fp8' = 'bf16') =>
  LlamaForCausalLM.fromWeights(CONFIG, sourceOf(tinyWeights(CONFIG)), { basePrecision: precision });

afterEach(() => vi.restoreAllMocks());

/** What recorders of generations did. */
function counted(how: 'graphs' | 'host'): () => { replayed: number; plain: number; recorded: number } {
  const make = cuda().recordSteps.bind(cuda());
  const counts = { replayed: 0, plain: 0, recorded: 0 };
  vi.spyOn(cuda(), 'recordSteps').mockImplementation((options) => {
    if (how === 'host') return null;
    const recorder = make(options)! as unknown as StepRecorder;
    const end = recorder.dispose.bind(recorder);
    recorder.dispose = () => {
      const { replayed, plain, recorded } = recorder.counts;
      counts.replayed += replayed;
      counts.plain += plain;
      counts.recorded += recorded;
      end();
    };
    return recorder as never;
  });
  return () => counts;
}

/** Tokens of a decoder, each read before the next step; ends the decoder. */
async function tokensOf(decoder: TokenDecoder, prompts: readonly number[][], count: number): Promise<number[][]> {
  const generated = prompts.map((): number[] => []);
  let chosen = decoder.prefill(prompts);
  for (let n = 0; ; n++) {
    const tokens = [...(await chosen.data())];
    chosen.dispose();
    tokens.forEach((token, row) => void generated[row]!.push(token));
    if (n + 1 === count) break;
    chosen = decoder.step(tokens);
  }
  decoder.dispose();
  return generated;
}

/** By steps whose keys and values are joined anew each time. */
const plainly = (model: LlamaForCausalLM, prompts: readonly number[][], count: number) =>
  tokensOf(new Decoder(model, { greedy: true }), prompts, count);

describeCuda('generate() by recorded steps', () => {
  it.each([1, 3, 4])('gives the tokens of the way that every backend has, for %i prompts', async (count) => {
    const model = await made();
    const prompts = PROMPTS.slice(0, count);
    const counts = counted('graphs');
    const tokens = await generate(model, prompts, { maxNewTokens: 16, eosTokenIds: [] });
    expect(counts().recorded).toBe(1);
    expect(counts().replayed).toBeGreaterThan(9);
    expect(tokens).toEqual(await plainly(model, prompts, 16));
    model.dispose();
  });

  it.each<[string, Partial<GenerateOptions>, 'bf16' | 'fp8']>([
    ['greedy', {}, 'bf16'],
    ['drawn', { doSample: true, seed: 6, topP: 0.9, temperature: 1.3 }, 'bf16'],
    ['greedy of weights in FP8', {}, 'fp8'],
  ])('gives the tokens of the host: %s', async (_, options, precision) => {
    const model = await made(precision);
    const asked = { maxNewTokens: 14, eosTokenIds: [], ...options };
    const counts = counted('graphs');
    const recorded = await generate(model, PROMPTS, asked);
    expect(counts().replayed).toBeGreaterThan(6);
    vi.restoreAllMocks();
    counted('host');
    expect(await generate(model, PROMPTS, asked)).toEqual(recorded);
    model.dispose();
  });

  it('goes on rightly where there is more to come than room was made for, and with the sequences that are left', async () => {
    const model = await made();
    const alone: number[][][] = [];
    for (const prompt of PROMPTS) alone.push(await generate(model, [prompt], { maxNewTokens: 16, eosTokenIds: [] }));
    const decoder = new RecordedDecoder(model, { greedy: true, maxNewTokens: 90, firstRoom: 8 });
    expect(await tokensOf(decoder, [PROMPTS[0]!], 90)).toEqual(await plainly(model, [PROMPTS[0]!], 90));
    // Ends each sequence at its own place.
    const ends = [alone[1]![0]![9]!, alone[2]![0]![3]!];
    const until = ([tokens]: number[][]) => {
      const end = tokens!.findIndex((token) => ends.includes(token));
      return end < 0 ? tokens! : tokens!.slice(0, end + 1);
    };
    expect(await generate(model, PROMPTS, { maxNewTokens: 16, eosTokenIds: ends })).toEqual(alone.map(until));
    model.dispose();
  });

  it('leaves nothing behind, nor where it fails or ends early, with adapters too', async () => {
    const model = await made();
    const peft = getPeftModel(model, { r: 4, loraAlpha: 8, targetModules: ['q_proj', 'v_proj', 'down_proj'] });
    const [end] = (await generate(model, [PROMPTS[0]!], { maxNewTokens: 7, eosTokenIds: [] }))[0]!.slice(-1);
    // Layouts are remembered, a few of them.
    const held = () =>
      cuda()
        .memoryPool.holders(99)
        .filter(({ by }) => by !== 'layouts');
    const state = () => [tf.memory().numTensors, tf.memory().numDataBuffers, cuda().numDataIds(), held()];
    await generate(model, PROMPTS, { maxNewTokens: 2 });
    const before = state();
    await generate(model, PROMPTS, { maxNewTokens: 8 });
    await generate(model, [PROMPTS[0]!], { maxNewTokens: 12, eosTokenIds: [end!] });
    await generate(model, PROMPTS, { maxNewTokens: 6, doSample: true });
    expect(state()).toEqual(before);
    let told = 0;
    const failing = () => {
      if (++told === 17) throw new Error('stop');
    };
    await expect(generate(model, PROMPTS, { maxNewTokens: 8, eosTokenIds: [], onToken: failing })).rejects.toThrow(
      'stop',
    );
    expect(state()).toEqual(before);
    peft.dispose();
    model.dispose();
  });
});
