/** @file A model whose linear layers are in FP8: what it is known by, what is saved of it, and what its adapter is merged into. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { saveModel } from '@spft/models/node';
import { baseFingerprint, getPeftModel } from '@spft/peft';
import type { WeightShards } from '@spft/sparse-ops';
import { formOf } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import { fingerprintOf } from '../../../estimator/src/fingerprint.js';
import { LlamaForCausalLM } from '../../../models/src/llama.js';
import { type LoadOptions, storeOptions } from '../../../models/src/load-options.js';
import {
  attachAdapters,
  BATCH,
  fixedEstimator,
  lossAndGradients,
  plan,
  sourceOf,
  TINY,
  tinyBatch,
  tinyWeights,
} from '../../../models/test/tiny.js';
import { e4m3WeightReference } from '../../../sparse-ops/src/engine/e4m3.reference.js';
import { roundToBf16 } from '../../test/compare.js';
import { cuda, describeCuda } from '../../test/cuda.js';
import { outliersOf } from './outlier-channels.js';

const CONFIG = { ...TINY, hiddenSize: 32, intermediateSize: 48, headDim: 8, numHiddenLayers: 2 };
const QUERY = 'model.layers.0.self_attn.q_proj';

type Result = ReturnType<typeof lossAndGradients>;

/** ‖a − b‖ / ‖b‖ over all gradients. */
function distance(a: Result, b: Result): number {
  let [off, all] = [0, 0];
  for (const [name, wanted] of b.gradients) {
    const found = a.gradients.get(name)!;
    wanted.forEach((x, n) => {
      off += (found[n]! - x) ** 2;
      all += x ** 2;
    });
  }
  return Math.sqrt(off / all);
}

describeCuda('a model with basePrecision fp8', () => {
  it('has its linear layers in FP8 and nothing else, and is the same base as in bf16 to adapters and predictors', async () => {
    const before = [tf.memory().numTensors, cuda().numDataIds()];
    const weights = tinyWeights(CONFIG);
    const progress: number[] = [];
    const [plain, model] = [
      await LlamaForCausalLM.fromWeights(CONFIG, sourceOf(weights)),
      await LlamaForCausalLM.fromWeights(CONFIG, sourceOf(weights), {
        basePrecision: 'fp8',
        onProgress: (loaded) => progress.push(loaded),
      }),
    ];
    expect(progress).toEqual([...weights.keys()].map((_, n) => n + 1));
    for (const [name, tensor] of model.tensors)
      expect([name, formOf(tensor)]).toEqual([name, /proj/.test(name) ? 'fp8' : null]);
    const { data } = weights.get(`${QUERY}.weight`)!;
    expect(model.frozenWeight(QUERY).dataSync()).toEqual(e4m3WeightReference(data));
    expect(await baseFingerprint(model)).toBe(await baseFingerprint(plain));
    expect(await fingerprintOf(model)).toEqual(await fingerprintOf(plain));
    expect(await plain.identity()).not.toHaveProperty('base_precision');
    expect(await model.identity()).toMatchObject({ base_precision: 'fp8' });
    plain.dispose();
    model.dispose();
    expect([tf.memory().numTensors, cuda().numDataIds()]).toEqual(before);
  });

  it('has modulesToNotConvert in bf16, in layers whose others are in FP8, dense and sparse', async () => {
    const before = tf.memory().numTensors;
    const weights = tinyWeights(CONFIG);
    const sparse = () => plan(fixedEstimator('gather'), 'corrected', new Map([[1, { mlp: 0.5, selfAttn: 0.5 }]]));
    const results: Result[] = [];
    for (const skipped of [null, [], ['k_proj', 'v_proj', 'up_proj'], ['mlp', 'self_attn']]) {
      const options = skipped === null ? {} : ({ basePrecision: 'fp8', modulesToNotConvert: skipped } as const);
      const model = await LlamaForCausalLM.fromWeights(CONFIG, sourceOf(weights), options);
      for (const { name, weight } of model.linears.values())
        expect([name, formOf(weight)]).toEqual([
          name,
          skipped === null || skipped.some((each) => name.includes(each)) ? null : 'fp8',
        ]);
      attachAdapters(model, ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']);
      for (const isSparse of [false, true]) {
        model.setSparsity(isSparse ? sparse() : null);
        results.push(lossAndGradients(model, tinyBatch(BATCH, false)));
      }
      model.setSparsity(null);
      for (const { adapter, name } of model.linears.values()) {
        model.setAdapter(name, null);
        adapter?.dispose();
      }
      model.dispose();
    }
    for (const n of [0, 1]) {
      const [plain, fp8, mixed, none] = [0, 2, 4, 6].map((way) => results[way + n]!) as [
        Result,
        Result,
        Result,
        Result,
      ];
      // Nothing was converted.
      expect(none).toEqual(plain);
      const [ofMixed, ofPlain] = [mixed.loss[0]!, plain.loss[0]!];
      expect(ofMixed).not.toBe(ofPlain);
      expect(Math.abs(ofMixed - ofPlain)).toBeLessThan(0.005 * ofPlain);
      // What is rounded is most of it still, and which roundings cancel is chance.
      expect(distance(mixed, plain)).toBeGreaterThan(0);
      expect(distance(mixed, plain)).toBeLessThan(1.2 * distance(fp8, plain));
      expect(mixed.loss).not.toEqual(fp8.loss);
    }
    expect(tf.memory().numTensors).toBe(before);
  });

  it('has the same weights with outlierChannels, in which it takes other bits, dense and sparse, and leaves nothing', async () => {
    const weights = tinyWeights(CONFIG);
    const results = async (outlierChannels: number) => {
      const model = await LlamaForCausalLM.fromWeights(CONFIG, sourceOf(weights), {
        ...{ basePrecision: 'fp8', outlierChannels },
      });
      const { data } = weights.get(`${QUERY}.weight`)!;
      expect(model.frozenWeight(QUERY).dataSync()).toEqual(e4m3WeightReference(data));
      attachAdapters(model, ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']);
      const found = [
        null,
        plan(fixedEstimator('gather'), 'corrected', new Map([[1, { mlp: 0.5, selfAttn: 0.5 }]])),
      ].map((sparsity) => {
        model.setSparsity(sparsity);
        return lossAndGradients(model, tinyBatch(BATCH, false));
      });
      model.setSparsity(null);
      for (const { adapter, name } of model.linears.values()) {
        model.setAdapter(name, null);
        adapter?.dispose();
      }
      model.dispose();
      return found;
    };
    // What all such models share is made with the first.
    const [plain, first] = [await results(0), await results(16)];
    const before = [tf.memory().numTensors, cuda().numDataIds()];
    const second = await results(16);
    expect([tf.memory().numTensors, cuda().numDataIds()]).toEqual(before);
    expect(second).toEqual(first);
    first.forEach((found, n) => {
      expect(found.loss[0]).not.toBe(plain[n]!.loss[0]);
      // Which roundings of so small a model cancel is chance, also by the order in which a product adds up: half a percent was not enough on an H200.
      expect(Math.abs(found.loss[0]! - plain[n]!.loss[0]!)).toBeLessThan(0.02 * plain[n]!.loss[0]!);
    });
    await expect(results(24)).rejects.toThrow('outlierChannels is 24, must be a multiple of 16');
    const shards = {} as WeightShards;
    const options = { basePrecision: 'fp8', outlierChannels: 16, shards } as const;
    await expect(LlamaForCausalLM.fromWeights(CONFIG, sourceOf(weights), options)).rejects.toThrow(
      'leave one of the two',
    );
  });

  it('chooses 128 outlier channels of each layer by what it computes first, and none with shards', async () => {
    const config = { ...CONFIG, hiddenSize: 256, intermediateSize: 272, headDim: 64 };
    const weights = tinyWeights(config);
    const load = (options: LoadOptions = {}) =>
      LlamaForCausalLM.fromWeights(config, sourceOf(weights), { basePrecision: 'fp8', ...options });
    // By who has the input written: a norm, and o and down themselves.
    const owners = ['input_layernorm', 'self_attn.o_proj', 'post_attention_layernorm', 'mlp.down_proj'];
    const chosenBy = (model: LlamaForCausalLM) =>
      owners.map((owner) => {
        const found = outliersOf(cuda(), model.tensors.get(`model.layers.0.${owner}.weight`)!);
        if (!found) return null;
        const channels = new Int32Array(found.count);
        cuda().readFrom(found.channels, channels);
        return [...channels];
      });
    const models = [await load(), await load(), await load({ outlierChannels: 0 })] as const;
    const [first, second, none] = models;
    const show = (model: LlamaForCausalLM, seed: number) =>
      tf.tidy(() => void model.loss(tinyBatch(BATCH, false, seed), { training: false, seed: 0, normalizer: 8 }));
    show(first, 5);
    const chosen = chosenBy(first);
    expect(chosen.map((channels) => channels?.length)).toEqual([128, 128, 128, 128]);
    // What comes later changes nothing: runs that are shown the same first go on alike.
    show(first, 6);
    show(second, 5);
    show(none, 5);
    expect([chosenBy(first), chosenBy(second)]).toEqual([chosen, chosen]);
    // Norms write codes for whoever there is.
    expect(chosenBy(none).map((channels) => channels?.length)).toEqual([128, undefined, 128, undefined]);
    expect(storeOptions({ shards: {} as WeightShards }).outlierChannels).toBe(0);
    for (const model of models) model.dispose();
    const alone = await load({ outlierChannels: 0 });
    show(alone, 5);
    expect(chosenBy(alone)).toEqual([null, null, null, null]);
    alone.dispose();
  });

  it('merges adapters into plain weights, and takes them back', async () => {
    const model = await LlamaForCausalLM.fromWeights(CONFIG, sourceOf(tinyWeights(CONFIG)), { basePrecision: 'fp8' });
    const peft = getPeftModel(model, { r: 4, loraAlpha: 8, targetModules: ['q_proj'] });
    const original = model.frozenWeight(QUERY).dataSync();
    // Far below FP8's steps, which a merged weight in FP8 would lose.
    for (const [name, variable] of peft.variables)
      if (name.includes('lora_B')) variable.assign(tf.fill(variable.shape, 1e-2));
    const merged = peft.mergedWeight(QUERY);

    expect(formOf(merged)).toBeNull();
    const moved = (merged.dataSync() as Float32Array).filter((x, n) => x !== roundToBf16(original[n]!)).length;
    expect(moved).toBeGreaterThan(0.5 * original.length);
    merged.dispose();
    peft.merge();
    expect(formOf(model.frozenWeight(QUERY))).toBeNull();
    peft.unmerge();
    expect(model.frozenWeight(QUERY).dataSync()).toEqual(original);
    expect(formOf(model.frozenWeight(QUERY))).toBe('fp8');
    peft.dispose();
    model.dispose();
  });

  it('is not saved as if it were the original', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'spft-fp8-'));
    const model = await LlamaForCausalLM.fromWeights(CONFIG, sourceOf(tinyWeights(CONFIG)), { basePrecision: 'fp8' });
    try {
      const path = join(directory, 'model');
      await expect(saveModel(path, model)).rejects.toThrow(
        '13 other weights are in fp8: what would be written are numbers rounded to that',
      );
      await saveModel(path, model, { fromForms: true });
    } finally {
      model.dispose();
      await rm(directory, { recursive: true });
    }
  });
});
