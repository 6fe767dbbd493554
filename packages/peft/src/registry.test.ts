import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../../../test/support/backends.js';
import { llamaShapes, TinyHost } from '../test/tiny-host.js';
import { parseAdapterConfig } from './adapter-config-file.js';
import { AdapterError } from './errors.js';
import { getPeftModel } from './peft-model.js';
import { adapterMethodNames, registerAdapterMethod } from './registry.js';
import type { AdapterMethod, FrozenLinear, LinearAdapter } from './types.js';

/** y = base ⊙ scale: an adapter of another kind altogether. */
class ScaleAdapter implements LinearAdapter {
  readonly variables: ReadonlyMap<string, tf.Variable>;
  private readonly scale: tf.Variable;

  constructor(
    readonly linear: FrozenLinear,
    readonly begin: number,
  ) {
    this.scale = tf.variable(tf.fill([linear.outFeatures], begin));
    this.variables = new Map([['scale.weight', this.scale]]);
  }
  forward(_: tf.Tensor2D, base: tf.Tensor2D): tf.Tensor2D {
    return tf.mul(base, this.scale);
  }
  mergedWeight(): tf.Tensor2D {
    return tf.tidy(() => tf.mul(this.linear.weight, tf.expandDims(this.scale, 1)));
  }
  dispose(): void {
    this.scale.dispose();
  }
}

const scaleMethod: AdapterMethod = {
  name: 'scale',
  fields: ['use_scale'],
  create: (linear, config) => new ScaleAdapter(linear, (config.extra.begin as number) ?? 2),
};

let undo = () => {};
afterEach(() => undo());
beforeAll(() => useBackend('cpu'));

describe('registerAdapterMethod()', () => {
  it('makes a method of others usable by its fields or its name', () => {
    undo = registerAdapterMethod(scaleMethod);
    expect(adapterMethodNames()).toEqual(['lora', 'dora', 'scale']);
    const host = new TinyHost(llamaShapes({ layers: 1, hidden: 4, kv: 4, intermediate: 4 }));
    const fromFile = getPeftModel(host, parseAdapterConfig({ peft_type: 'LORA', use_scale: true, begin: 3 }));
    expect(fromFile.method.name).toBe('scale');
    expect([...fromFile.variables.keys()]).toContain('model.layers.0.self_attn.q_proj.scale.weight');
    fromFile.dispose();
    const byName = getPeftModel(host, {}, { method: 'scale' });
    expect(byName.config.extra).toEqual({ use_scale: true });
    const x = tf.ones([1, 4]) as tf.Tensor2D;
    const name = 'model.layers.0.self_attn.q_proj';
    const scaled = host.forward(name, x).dataSync();
    byName.dispose();
    expect(scaled).toEqual(
      host
        .forward(name, x)
        .dataSync()
        .map((v) => 2 * v),
    );
  });

  it('refuses a name or fields that are taken', () => {
    expect(() => registerAdapterMethod({ ...scaleMethod, name: 'lora' })).toThrow(
      "adapter method 'lora' is registered already; give yours another name",
    );
    expect(() => registerAdapterMethod({ ...scaleMethod, fields: ['use_dora'] })).toThrow(
      "adapter method 'scale': 'dora' already answers to the fields ['use_dora']",
    );
  });
});

describe('getPeftModel(), choosing a method,', () => {
  const host = () => new TinyHost(llamaShapes({ layers: 1, hidden: 4, kv: 4, intermediate: 4 }));

  it('makes DoRA by name', () => {
    const peft = getPeftModel(host(), {}, { method: 'dora' });
    expect([peft.method.name, peft.config.useDora]).toEqual(['dora', true]);
  });

  it.each([
    ['use_qalora', { use_qalora: true }],
    ['alora_invocation_tokens', { alora_invocation_tokens: [1] }],
    ['bias', { bias: 'lora_only' }],
    ['modules_to_save', { modules_to_save: ['lm_head'] }],
    ['layer_replication', { layer_replication: [[0, 1]] }],
    ['fan_in_fan_out', { fan_in_fan_out: true }],
    ['lora_bias', { lora_bias: true }],
    ['trainable_token_indices', { trainable_token_indices: [3] }],
    ['target_parameters', { target_parameters: ['experts.up'] }],
  ])('names %s, which nobody implements', (field, fields) => {
    const make = () => getPeftModel(host(), parseAdapterConfig({ peft_type: 'LORA', ...fields }));
    expect(make).toThrow(AdapterError);
    expect(make).toThrow(`'${field}' is set, but no adapter method (lora, dora) implements that`);
  });

  it('names fields that do not go together, and a method that is not there or not meant', () => {
    undo = registerAdapterMethod(scaleMethod);
    expect(() => getPeftModel(host(), { useDora: true, extra: { use_scale: true } })).toThrow(
      "'use_dora', 'use_scale' are set together",
    );
    expect(() => getPeftModel(host(), {}, { method: 'vera' })).toThrow("wanted one of lora, dora, scale, found 'vera'");
    expect(() => getPeftModel(host(), { useDora: true }, { method: 'lora' })).toThrow(
      "'use_dora' is set, but adapter method 'lora' does not implement that",
    );
  });
});
