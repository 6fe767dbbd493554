import { packTokens } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { TEST_BACKENDS, useBackend } from '../../../../test/support/backends.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { ALL_PROJECTIONS, attachAdapters, fixedEstimator, plan, TINY, tinyModel } from '../../test/tiny.js';
import type { LlamaForCausalLM } from '../llama.js';
import { IGNORE_INDEX } from '../types.js';
import { type GeneratedToken, generate } from './generate.js';

const PROMPTS = [[5, 9, 11, 30, 8], [7, 21], [3, 4, 6, 33, 12, 35, 9], [17]];

/** The likeliest next tokens by a whole forward pass for each: no cache. @param dense tokens of the prompt; what follows is dense. */
function greedyWithoutCache(
  model: LlamaForCausalLM,
  prompt: readonly number[],
  count: number,
  dense: (token: number) => boolean = () => true,
): number[] {
  const ids = [...prompt];
  for (let n = 0; n < count; n++) {
    const logits = model.logits({
      inputIds: Int32Array.from(ids),
      labels: new Int32Array(ids.length).fill(IGNORE_INDEX),
      layout: packTokens({
        lengths: [ids.length],
        dense: (token) => token >= prompt.length || dense(token),
      }),
    });
    ids.push(tf.argMax(logits, 1).dataSync()[ids.length - 1]!);
    logits.dispose();
  }
  return ids.slice(prompt.length);
}

describe.each(TEST_BACKENDS)('generate() on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it.each([false, true])('gives with its cache what whole passes give without (adapters: %s)', async (adapted) => {
    const model = await tinyModel();
    if (adapted) attachAdapters(model, ALL_PROJECTIONS);
    const generated = await generate(model, PROMPTS, { maxNewTokens: 9, eosTokenIds: [] });
    expect(generated).toEqual(PROMPTS.map((prompt) => greedyWithoutCache(model, prompt, 9)));
  });

  it('reads prompts as the sparsity plan has it where that is asked for, on or off, and goes on densely', async () => {
    const model = await tinyModel({ attentionBias: true });
    attachAdapters(model, ALL_PROJECTIONS);
    const options = { maxNewTokens: 6, eosTokenIds: [] };
    const dense = await generate(model, PROMPTS, options);
    await expect(generate(model, PROMPTS, { ...options, densePromptTokens: () => [] })).rejects.toThrow(
      'no sparsity is attached',
    );
    const sparsity = plan(fixedEstimator('gather'));
    model.setSparsity({ ...sparsity, enabled: false });
    // The last two tokens of each prompt are dense.
    const tail = (lengths: readonly number[]) =>
      lengths.flatMap((length) => Array.from({ length }, (_, t) => Number(t >= length - 2)));
    const sparsely = await generate(model, PROMPTS, { ...options, densePromptTokens: tail });
    expect(await generate(model, PROMPTS, { ...options, densePromptTokens: (all) => tail(all).fill(1) })).toEqual(
      dense,
    );
    model.setSparsity(sparsity);
    const whole = PROMPTS.map((prompt) => greedyWithoutCache(model, prompt, 6, (token) => token >= prompt.length - 2));
    model.setSparsity(null);
    expect(sparsely).toEqual(whole);
    expect(sparsely).not.toEqual(dense);
  });

  it('gives a prompt the same whatever else is in the batch, greedy or drawn', async () => {
    const model = await tinyModel({ attentionBias: true });
    for (const options of [{}, { doSample: true, seed: 6, topP: 0.9, topK: 20, temperature: 1.3 }]) {
      const batch = await generate(model, PROMPTS.slice(0, 3), { maxNewTokens: 6, eosTokenIds: [], ...options });
      const first = await generate(model, [PROMPTS[0]!], { maxNewTokens: 6, eosTokenIds: [], ...options });
      expect(first[0]).toEqual(batch[0]);
    }
  });

  it('ends each sequence at its end token and the batch at its last, saying every token as it comes', async () => {
    const model = await tinyModel();
    const free = await generate(model, PROMPTS, { maxNewTokens: 8, eosTokenIds: [] });
    const end = free[2]![3]!;
    const told: GeneratedToken[] = [];
    const stopped = await generate(model, PROMPTS, {
      maxNewTokens: 8,
      eosTokenIds: [end],
      onToken: (event) => told.push(event),
    });
    const until = (tokens: number[]) => (tokens.includes(end) ? tokens.slice(0, tokens.indexOf(end) + 1) : tokens);
    expect(stopped).toEqual(free.map(until));
    expect(stopped.some((tokens) => tokens.length < 8)).toBe(true);
    expect(told.length).toBe(stopped.flat().length);
    for (const { sequence, index, token } of told) expect(stopped[sequence]![index]).toBe(token);
  });

  it('goes on rightly with the few sequences that are left', async () => {
    const model = await tinyModel();
    const free = await generate(model, PROMPTS, { maxNewTokens: 10, eosTokenIds: [] });
    // Every sequence's first token ends it, save those of one that never says any of them.
    const lasting = free.findIndex((tokens) => !free.some((other) => other !== tokens && tokens.includes(other[0]!)));
    expect(lasting).toBeGreaterThanOrEqual(0);
    const ends = free.filter((_, n) => n !== lasting).map((tokens) => tokens[0]!);
    const stopped = await generate(model, PROMPTS, { maxNewTokens: 10, eosTokenIds: ends });
    expect(stopped[lasting]).toEqual(free[lasting]);
    expect(stopped.filter((_, n) => n !== lasting).every((tokens) => tokens.length === 1)).toBe(true);
  });

  it('uses all channels whatever the sparsity plan', async () => {
    const model = await tinyModel();
    const dense = await generate(model, PROMPTS, { maxNewTokens: 5, eosTokenIds: [] });
    model.setSparsity(plan(fixedEstimator('gather')));
    expect(await generate(model, PROMPTS, { maxNewTokens: 5, eosTokenIds: [] })).toEqual(dense);
  });

  it('leaves nothing behind, nor where it fails', async () => {
    const model = await tinyModel();
    attachAdapters(model, ALL_PROJECTIONS);
    await expectNoLeak(() => generate(model, PROMPTS, { maxNewTokens: 4 }));
    await expectNoLeak(() => generate(model, PROMPTS, { maxNewTokens: 4, doSample: true }));
    await expectNoLeak(() => expect(generate(model, [[1], [99]], { maxNewTokens: 4 })).rejects.toThrow('token id 99'));
    const failing = () => {
      throw new Error('stop');
    };
    await expectNoLeak(() =>
      expect(generate(model, PROMPTS, { maxNewTokens: 4, onToken: failing })).rejects.toThrow('stop'),
    );
  });
});

describe('generate()', () => {
  beforeAll(() => useBackend('cpu'));

  it('draws other tokens with another seed, and the same ones again with the same', async () => {
    const model = await tinyModel();
    const draw = (seed: number) =>
      generate(model, PROMPTS, { maxNewTokens: 8, doSample: true, seed, temperature: 2, eosTokenIds: [] });
    expect(await draw(1)).toEqual(await draw(1));
    expect(await draw(1)).not.toEqual(await draw(2));
  });

  it('ends at the end tokens of the config unless told others', async () => {
    const model = await tinyModel();
    const [free] = await generate(model, [PROMPTS[0]!], { maxNewTokens: 3, eosTokenIds: [] });
    const ended = await tinyModel({ eosTokenIds: [free![0]!] });
    expect(await generate(ended, [PROMPTS[0]!], { maxNewTokens: 3 })).toEqual([[free![0]]]);
  });

  it('has nothing to say for no prompts', async () => {
    expect(await generate(await tinyModel(), [], { maxNewTokens: 3 })).toEqual([]);
  });

  it.each([
    [[[]], {}, 'prompt 0 is empty'],
    [[[1]], { maxNewTokens: 0 }, 'maxNewTokens is 0'],
    [[[1]], { doSample: true, temperature: 0 }, 'temperature is 0, must be above 0'],
    [[[1]], { doSample: true, topP: 1.5 }, 'topP is 1.5'],
    [[[1]], { doSample: true, topK: 0.5 }, 'topK is 0.5'],
    [[[TINY.vocabSize]], {}, 'token id 40 has no embedding'],
  ])('refuses %j with %j', async (prompts, options, message) => {
    await expect(generate(await tinyModel(), prompts, { maxNewTokens: 2, ...options })).rejects.toThrow(message);
  });
});
