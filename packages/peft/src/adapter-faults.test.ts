import { parseSafetensors, serializeSafetensors, type TensorToWrite } from '@spft/safetensors';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../../../test/support/backends.js';
import { llamaShapes, TinyHost } from '../test/tiny-host.js';
import { parseAdapterConfig } from './adapter-config-file.js';
import { adapterFromSafetensors, adapterToSafetensors } from './adapter-file.js';
import { AdapterError } from './errors.js';
import { completeLoraConfig } from './lora-config.js';
import { getPeftModel } from './peft-model.js';
import { findTargets } from './target-modules.js';

const SHAPES = llamaShapes({ layers: 1, hidden: 8, kv: 4, intermediate: 12 });
const CONFIG = { r: 2, loraAlpha: 4, targetModules: ['q_proj'] };
const A = 'base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight';
const EMBEDDING = 'base_model.model.model.embed_tokens.weight';
const HEAD = 'base_model.model.lm_head.weight';

class HostWithEmbedding extends TinyHost {
  readonly embedding = tf.tensor2d(
    Array.from({ length: 40 }, (_, n) => n / 7),
    [5, 8],
  );
  readonly tensors = new Map<string, tf.Tensor>([['model.embed_tokens.weight', this.embedding]]);
}

async function tensors(): Promise<Record<string, TensorToWrite>> {
  const file = parseSafetensors(await adapterToSafetensors(getPeftModel(new TinyHost(SHAPES), CONFIG)));
  const all: Record<string, TensorToWrite> = {};
  for (const name of file.names)
    all[name] = { dtype: 'F32', shape: file.entry(name).shape, data: await file.float32(name) };
  return all;
}

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.unreachable('was accepted'),
    (error: unknown) => {
      expect(error).toBeInstanceOf(AdapterError);
      return (error as Error).message;
    },
  ) as Promise<string>;

describe('adapterFromSafetensors()', () => {
  beforeAll(() => useBackend('cpu'));

  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    'refuses weights with %s, and leaks nothing',
    async (value) => {
      const all = await tensors();
      (all[A]!.data as Float32Array)[3] = value;
      const host = new TinyHost(SHAPES);
      const before = tf.memory().numTensors;
      expect(await failure(adapterFromSafetensors(host, serializeSafetensors(all), CONFIG))).toContain(
        `${A}: element 3 is ${value}`,
      );
      expect(tf.memory().numTensors).toBe(before);
      expect(host.linears.get('model.layers.0.self_attn.q_proj')!.adapter).toBeNull();
    },
  );

  it('compares a rank with the file before it allocates anything of that size', async () => {
    const bytes = serializeSafetensors(await tensors());
    const huge = await failure(adapterFromSafetensors(new TinyHost(SHAPES), bytes, { ...CONFIG, r: 1e9 }));
    expect(huge).toContain('r is 1000000000');
    const wrong = await failure(adapterFromSafetensors(new TinyHost(SHAPES), bytes, { ...CONFIG, r: 4000 }));
    expect(wrong).toContain('wanted [4000,8], found [2,8]');
    expect(() => getPeftModel(new TinyHost(SHAPES), { ...CONFIG, r: 1e9 })).toThrow('give a smaller r');
    expect(() => getPeftModel(new TinyHost(SHAPES), { ...CONFIG, rankPattern: { q_proj: 1e9 } })).toThrow(AdapterError);
  });

  it.each(['F32', 'F16', 'BF16'] as const)('accepts equal copies of embedding and tied head in %s', async (dtype) => {
    const host = new HostWithEmbedding(SHAPES);
    const data = Float32Array.from(await host.embedding.data());
    const copy: TensorToWrite = { dtype, shape: [5, 8], data };
    const bytes = serializeSafetensors({ ...(await tensors()), [EMBEDDING]: copy, [HEAD]: copy });
    const loaded = await adapterFromSafetensors(host, bytes, CONFIG);
    expect(loaded.adapters.size).toBe(1);
  });

  it('names trained copies as what the config says nothing of, and not as of another base', async () => {
    const host = new HostWithEmbedding(SHAPES);
    const data = Float32Array.from(await host.embedding.data());
    data[17]! += 1e-3;
    const all = await tensors();
    const changed = serializeSafetensors({ ...all, [HEAD]: { dtype: 'F32', shape: [5, 8], data } });
    const message = await failure(adapterFromSafetensors(host, changed, CONFIG));
    expect(message).toContain(`${HEAD} (trained: other values than the model's from row 2 on)`);
    expect(message).toContain('with values of their own, of which the config says nothing');
    expect(message).not.toContain('the base model that it was trained on');
    const resized = serializeSafetensors({
      ...all,
      [EMBEDDING]: { dtype: 'F32', shape: [6, 8], data: new Float32Array(48) },
    });
    expect(await failure(adapterFromSafetensors(host, resized, CONFIG))).toContain(
      '[6,8] in the file, [5,8] in the model',
    );
  });

  it('names LoRA on the embedding or the head of a model that lets none be there', async () => {
    const lora: TensorToWrite = { dtype: 'F32', shape: [2, 8], data: new Float32Array(16) };
    const bytes = serializeSafetensors({
      ...(await tensors()),
      'base_model.model.lm_head.lora_A.weight': lora,
      'base_model.model.model.embed_tokens.lora_embedding_A': lora,
    });
    const message = await failure(
      adapterFromSafetensors(new TinyHost(SHAPES), bytes, { ...CONFIG, targetModules: ['q_proj', 'lm_head'] }),
    );
    expect(message).toContain(
      '2 of adapters on the embedding or the head that the config or this model has no place for',
    );
    expect(message).not.toContain('the base model that it was trained on');
    expect(() => getPeftModel(new TinyHost(SHAPES), { ...CONFIG, targetModules: ['q_proj', 'lm_head'] })).toThrow(
      "'lm_head' is not adapted here",
    );
  });

  it('takes a Buffer', async () => {
    const bytes = Buffer.from(serializeSafetensors(await tensors()));
    expect((await adapterFromSafetensors(new TinyHost(SHAPES), bytes, CONFIG)).adapters.size).toBe(1);
  });
});

describe('parseAdapterConfig()', () => {
  const parse = (fields: object) => {
    const warnings: string[] = [];
    const config = parseAdapterConfig({ peft_type: 'LORA', ...fields }, 'adapter_config.json', {
      onWarning: (message) => warnings.push(message),
    });
    return { config, warnings };
  };

  it('warns of keys that PEFT does not know, as PEFT does', () => {
    expect(parse({ use_hyperlora: true, r: 4 }).warnings).toEqual([
      expect.stringContaining("'use_hyperlora' is unknown to PEFT"),
    ]);
    expect(parse({ bias: 'none', qalora_group_size: 16, inference_mode: true, runtime_config: {} }).warnings).toEqual(
      [],
    );
  });

  it.each(['pissa', 'pissa_niter_16', 'olora', 'corda'])('says how to convert %s', (init) => {
    expect(() => parse({ init_lora_weights: init })).toThrow('path_initial_model_for_weight_conversion');
  });

  it('refuses deep values, in messages too', () => {
    let deep: unknown = 1;
    for (let n = 0; n < 50_000; n++) deep = [deep];
    for (const fields of [{ extra_field: deep }, { r: deep }, { target_modules: deep }, { peft_type: deep }]) {
      expect(() => parse(fields)).toThrow(AdapterError);
    }
    expect(() => parseAdapterConfig(deep)).toThrow(AdapterError);
  });
});

describe('findTargets()', () => {
  const names = Object.keys(llamaShapes({ layers: 32 }));

  it.each(['(.*)*(.*)*x', '(.+)+\\.(.+)+z', '([a-z._0-9]+)*!', '(a|a)*.*(a|a)*(a|a)*y', '(.*,)*'])(
    'is done soon with /%s/',
    (source) => {
      // V8's matcher would need longer than the universe has lasted.
      const config = completeLoraConfig({ targetModules: `(?:${source}|.*q_proj)`, rankPattern: { [source]: 4 } });
      expect(findTargets(names, config, false)).toHaveLength(32);
    },
  );
});
