import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../test/support/allclose.js';
import { TEST_BACKENDS, useBackend } from '../../../test/support/backends.js';
import { expectNoLeak } from '../../../test/support/leaks.js';
import { llamaShapes, TinyHost } from '../test/tiny-host.js';
import { AdapterError } from './errors.js';
import { baseFingerprint } from './fingerprint.js';
import type { LoraConfigInput } from './lora-config.js';
import { getPeftModel } from './peft-model.js';

const SHAPES = llamaShapes({ layers: 2, hidden: 8, kv: 4, intermediate: 12 });
const Q = 'model.layers.1.self_attn.q_proj';
const TRAINED: LoraConfigInput = { r: 2, initLoraWeights: false };
const EXACT = { relative: 0, absolute: 0 };

describe.each(TEST_BACKENDS)('getPeftModel() on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it('names variables as PEFT names parameters, in model order', () => {
    const lora = getPeftModel(new TinyHost(SHAPES), { targetModules: ['v_proj', 'q_proj'], r: 2 });
    expect([...lora.variables].map(([name, { shape }]) => [name, shape])).toEqual(
      [0, 1].flatMap((layer) => [
        [`model.layers.${layer}.self_attn.q_proj.lora_A.weight`, [2, 8]],
        [`model.layers.${layer}.self_attn.q_proj.lora_B.weight`, [8, 2]],
        [`model.layers.${layer}.self_attn.v_proj.lora_A.weight`, [2, 8]],
        [`model.layers.${layer}.self_attn.v_proj.lora_B.weight`, [4, 2]],
      ]),
    );
    const dora = getPeftModel(new TinyHost(SHAPES), { targetModules: 'q_proj', useDora: true });
    expect([...dora.variables.keys()].at(-1)).toBe(`${Q}.lora_magnitude_vector.weight`);
    expect(dora.config.targetModules).toEqual(['q_proj']);
  });

  it('begins the same for the same seed, whatever else is adapted', () => {
    const values = (config: LoraConfigInput, seed: number) =>
      getPeftModel(new TinyHost(SHAPES), { r: 2, ...config }, { seed })
        .parameters.get(`${Q}.lora_A.weight`)!
        .dataSync();
    expect(values({ targetModules: ['q_proj'] }, 3)).toEqual(values({ targetModules: 'all-linear' }, 3));
    expect(values({}, 3)).not.toEqual(values({}, 4));
  });

  it('gives layers the ranks and alphas of their patterns', () => {
    const peft = getPeftModel(new TinyHost(SHAPES), { rankPattern: { v_proj: 3 }, alphaPattern: { 'layers.0.*': 1 } });
    expect(peft.parameters.get('model.layers.0.self_attn.v_proj.lora_A.weight')!.shape).toEqual([3, 8]);
    expect(peft.parameters.get(`${Q}.lora_A.weight`)!.shape).toEqual([8, 8]);
  });

  it('forwards the loss of the base, and says where the base has none', () => {
    const host = new TinyHost({ l: [3, 2] });
    const peft = getPeftModel(host, { ...TRAINED, targetModules: ['l'] });
    const x = tf.ones([1, 2]) as tf.Tensor2D;
    const loss: tf.Scalar = peft.loss(x, { factor: 2 });
    expectAllClose('loss', loss, tf.mul(tf.sum(host.forward('l', x)), 2));
    const { linears } = new TinyHost({ l: [3, 2] });
    const bare = { linears, setAdapter() {}, replaceWeight() {} };
    const wrapped = getPeftModel(bare, { targetModules: ['l'] }) as { loss(): unknown };
    expect(() => wrapped.loss()).toThrow('PeftModel.loss: the base model has no method `loss`');
  });

  it.each([
    ['LoRA', {}],
    ['rank-stabilised LoRA', { useRslora: true }],
    ['DoRA', { useDora: true }],
  ])('merges and unmerges: %s', async (_, config) => {
    const host = new TinyHost(SHAPES, { bias: true });
    const x = tf.randomNormal([3, 8], 0, 1, 'float32', 1) as tf.Tensor2D;
    const plain = host.forward(Q, x);
    const before = Float32Array.from(host.linears.get(Q)!.weight.dataSync());
    const peft = getPeftModel(host, { ...TRAINED, ...config });
    const fingerprint = await peft.baseFingerprint();
    for (const variable of peft.parameters.values()) variable.assign(tf.mul(variable, 1.5));
    const adapted = host.forward(Q, x);
    const each = new Map(peft.mergedWeights());
    expect([...each.keys()]).toEqual([...peft.adapters.keys()].map((name) => `${name}.weight`));

    peft.merge();
    peft.merge();
    expect([peft.merged, host.linears.get(Q)!.adapter]).toEqual([true, null]);
    expectAllClose('merged', host.forward(Q, x), adapted);
    expect(() => expectAllClose('plain', host.forward(Q, x), plain)).toThrow();
    expectAllClose('mergedWeights()', each.get(`${Q}.weight`)!, host.linears.get(Q)!.weight, EXACT);
    expectAllClose('mergedWeight() when merged', peft.mergedWeight(Q), host.linears.get(Q)!.weight, EXACT);
    expect(await peft.baseFingerprint()).toBe(fingerprint);

    peft.unmerge();
    peft.unmerge();
    expect(peft.merged).toBe(false);
    expectAllClose('unmerged weight', host.linears.get(Q)!.weight, before, EXACT);
    expectAllClose('unmerged', host.forward(Q, x), adapted, EXACT);

    peft.merge({ reversible: false });
    expectAllClose('merged for good', host.forward(Q, x), adapted);
    expect(await peft.baseFingerprint()).toBeNull();
    expect(() => peft.unmerge()).toThrow('merged with { reversible: false }');
    peft.dispose();
    expectAllClose('after dispose', host.forward(Q, x), adapted);
  });

  it('puts back what it merged when a layer cannot be merged', () => {
    const host = new TinyHost(SHAPES);
    const peft = getPeftModel(host, { ...TRAINED, targetModules: ['q_proj'] });
    const before = Float32Array.from(host.linears.get('model.layers.0.self_attn.q_proj')!.weight.dataSync());
    const broken = peft.adapters.get(Q)!;
    broken.mergedWeight = () => {
      throw new Error('out of memory');
    };
    expect(() => peft.merge()).toThrow('out of memory');
    expect(peft.merged).toBe(false);
    const first = host.linears.get('model.layers.0.self_attn.q_proj')!;
    expectAllClose('weight', first.weight, before, EXACT);
    expect([first.adapter, host.linears.get(Q)!.adapter]).toEqual([...peft.adapters.values()]);
  });

  it('gives weights of layers without adapter as they are, and says which there are not', () => {
    const host = new TinyHost(SHAPES);
    const peft = getPeftModel(host, TRAINED);
    expectAllClose(
      'o',
      peft.mergedWeight('model.layers.0.self_attn.o_proj'),
      host.linears.get('model.layers.0.self_attn.o_proj')!.weight,
    );
    expect(() => peft.mergedWeight('lm_head')).toThrow("mergedWeight: the model has no linear layer 'lm_head'");
  });

  it('computes without its adapters for a while, and with them again, also where that fails', async () => {
    const host = new TinyHost(SHAPES);
    const x = tf.randomNormal([3, 8], 0, 1, 'float32', 1) as tf.Tensor2D;
    const plain = host.forward(Q, x);
    const peft = getPeftModel(host, TRAINED);
    const adapted = host.forward(Q, x);
    expect(() => expectAllClose('adapted', adapted, plain)).toThrow();
    expectAllClose('without', await peft.disableAdapter(() => host.forward(Q, x)), plain, EXACT);
    expectAllClose('with again', host.forward(Q, x), adapted, EXACT);
    await expect(peft.disableAdapter(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expectAllClose('with after an error', host.forward(Q, x), adapted, EXACT);
    peft.merge();
    await expect(peft.disableAdapter(() => 1)).rejects.toThrow(
      'disableAdapter: the adapters are merged; call unmerge() first',
    );
    peft.dispose();
  });

  it('freezes and thaws', () => {
    const peft = getPeftModel(new TinyHost({ l: [3, 2] }), { ...TRAINED, targetModules: ['l'] });
    const x = tf.ones([1, 2]) as tf.Tensor2D;
    peft.setTrainable(false, (name) => name.endsWith('lora_A.weight'));
    expect([...peft.variables.keys()]).toEqual(['l.lora_B.weight']);
    const { grads } = tf.variableGrads(() => peft.loss(x, { factor: 1 }));
    expect(Object.keys(grads)).toContain(peft.parameters.get('l.lora_B.weight')!.name);
    expect(Object.keys(grads)).not.toContain(peft.parameters.get('l.lora_A.weight')!.name);
    peft.setTrainable(true);
    expect([...peft.variables.keys()]).toEqual(['l.lora_A.weight', 'l.lora_B.weight']);
  });

  it('counts parameters as PEFT prints them', () => {
    const host = new TinyHost({ l: [30, 40] }, { bias: true });
    const peft = getPeftModel(host, { r: 2, targetModules: ['l'] });
    expect(peft.parameterCount()).toEqual({ trainable: 140, all: 1230 + 140 });
    expect(peft.trainableParametersText()).toBe('trainable params: 140 || all params: 1,370 || trainable%: 10.2190');
    const whole = Object.assign(new TinyHost({ l: [30, 40] }), { parameterCount: 10_000 });
    expect(getPeftModel(whole, { r: 2, targetModules: ['l'] }).parameterCount().all).toBe(10_140);
  });

  it('refuses a second set, and leaves the model as it was when it fails', () => {
    const host = new TinyHost(SHAPES);
    expect(() => getPeftModel(host, { targetModules: ['c_attn'] })).toThrow(AdapterError);
    const before = tf.memory().numTensors;
    expect(() => getPeftModel(host, { initLoraWeights: 'eva' })).toThrow("'eva' is read from files");
    expect(tf.memory().numTensors).toBe(before);
    const peft = getPeftModel(host, TRAINED);
    expect(() => getPeftModel(host, TRAINED)).toThrow('the model has adapters already; dispose its PeftModel');
    peft.dispose();
    peft.dispose();
    expect(host.linears.get(Q)!.adapter).toBeNull();
    expect(() => peft.merge()).toThrow('merge: this PeftModel was disposed');
    getPeftModel(host, TRAINED).dispose();
  });

  it.each([{ useDora: false }, { useDora: true }])('leaves nothing behind (%j)', async (config) => {
    const host = new TinyHost(SHAPES);
    await expectNoLeak(async () => {
      const peft = getPeftModel(host, { ...TRAINED, ...config });
      peft.merge();
      await peft.baseFingerprint();
      peft.unmerge();
      for (const [, weight] of peft.mergedWeights()) weight.dispose();
      peft.merge({ reversible: true });
      peft.dispose();
    });
  });
});

describe('baseFingerprint()', () => {
  it('is the same for the same weights in bfloat16, another for other weights or shapes', async () => {
    await useBackend('cpu');
    const host = new TinyHost(SHAPES);
    const rounded = new TinyHost(SHAPES);
    for (const [name, layer] of host.linears) {
      const bits = new Uint32Array(Float32Array.from(layer.weight.dataSync()).buffer);
      const bf16 = bits.map((b) => ((b + 0x7fff + ((b >>> 16) & 1)) >>> 16) << 16);
      rounded.replaceWeight(name, tf.tensor2d(new Float32Array(bf16.buffer), layer.weight.shape));
    }
    const fingerprint = await baseFingerprint(host);
    expect(fingerprint).toMatch(/^[0-9a-f]{16}$/);
    expect(await baseFingerprint(rounded)).toBe(fingerprint);
    expect(await baseFingerprint(new TinyHost(SHAPES, { seed: 2 }))).not.toBe(fingerprint);
    await expectNoLeak(() => baseFingerprint(host));
  });
});
