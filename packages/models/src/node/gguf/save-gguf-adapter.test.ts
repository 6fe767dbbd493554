/** @file Adapters to GGUF files. What llama.cpp makes of them: scripts/gguf-check. */
import { readdir } from 'node:fs/promises';
import { openGguf } from '@spft/gguf/node';
import { getPeftModel, type LoraConfigInput } from '@spft/peft';
import { float32ToBfloat16 } from '@spft/safetensors';
import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { CONFIG, ggufFolder, model } from '../../../test/gguf.js';
import { pseudoRandom } from '../../../test/tiny.js';
import { fromGgufRows } from '../../gguf/tensor-names.js';
import { saveGgufAdapter } from '../index.js';

const at = ggufFolder();

describe('saveGgufAdapter()', () => {
  /** B·A·alpha/r of a layer as llama.cpp adds it, in our order of rows. */
  async function added(file: string, stem: string, other: boolean): Promise<{ delta: tf.Tensor2D; alpha: number }> {
    const opened = await openGguf(file);
    const alpha = opened.metadata.number('adapter.lora.alpha')!;
    const read = async (name: string) =>
      tf.tensor2d(await opened.float32(name), [...opened.entry(name).shape] as [number, number]);
    const [a, b] = [await read(`${stem}.lora_a`), await read(`${stem}.lora_b`)];
    await opened.close();
    const delta = tf.tidy(() => {
      const product = tf.mul(tf.matMul(b, a), alpha / a.shape[0]) as tf.Tensor2D;
      if (!other) return product;
      return tf.tensor2d(
        fromGgufRows(product.dataSync() as Float32Array, product.shape[1], CONFIG.headDim),
        product.shape,
      );
    });
    tf.dispose([a, b]);
    return { delta, alpha };
  }

  it.each<[string, LoraConfigInput, number]>([
    ['LoRA', { r: 4, loraAlpha: 8 }, 8],
    ['rank-stabilised LoRA', { r: 4, loraAlpha: 8, useRslora: true }, 16],
    [
      'LoRA of several ranks and alphas',
      { r: 4, loraAlpha: 8, rankPattern: { k_proj: 2 }, alphaPattern: { up_proj: 32 } },
      8,
    ],
  ])('writes what llama.cpp adds for the merged weights: %s', async (_, config, alpha) => {
    const [out, base] = [at.path(), await model()];
    const peft = getPeftModel(base, { targetModules: ['q_proj', 'k_proj', 'up_proj'], ...config }, { seed: 3 });
    let seed = 50;
    for (const [name, variable] of peft.parameters) {
      if (!name.endsWith('lora_B.weight')) continue;
      const values = tf.tensor(pseudoRandom(variable.size, seed++), variable.shape);
      variable.assign(values);
      values.dispose();
    }
    await saveGgufAdapter(out, peft);
    for (const [name, stem] of [
      ['model.layers.1.self_attn.q_proj', 'blk.1.attn_q.weight'],
      ['model.layers.0.self_attn.k_proj', 'blk.0.attn_k.weight'],
      ['model.layers.0.mlp.up_proj', 'blk.0.ffn_up.weight'],
    ] as const) {
      const { delta, alpha: found } = await added(out, stem, !name.includes('mlp'));
      expect(found).toBe(alpha);
      const merged = peft.mergedWeight(name);
      const wanted = tf.tidy(() => tf.sub(merged, base.linears.get(name)!.weight)).dataSync();
      delta.dataSync().forEach((value, i) => {
        expect(value).toBeCloseTo(wanted[i]!, 4);
      });
      tf.dispose([delta, merged]);
    }
    peft.dispose();
    base.dispose();
  });

  it('refuses DoRA, which llama.cpp has not', async () => {
    const [out, base] = [at.path(), await model()];
    const peft = getPeftModel(base, { r: 4, useDora: true });
    await expect(saveGgufAdapter(out, peft)).rejects.toThrow(
      "llama.cpp's adapters are LoRA's A and B alone: export the merged model (without --lora)",
    );
    expect((await readdir(at.root)).includes(out.slice(at.root.length + 1))).toBe(false);
    peft.dispose();
    base.dispose();
  });

  it('has the numbers in 16 bits where that is asked for', async () => {
    const [out, base] = [at.path(), await model()];
    const peft = getPeftModel(base, { r: 2 });
    await saveGgufAdapter(out, peft, { type: 'bf16', name: 'mine' });
    const file = await openGguf(out);
    const a = peft.parameters.get('model.layers.0.self_attn.v_proj.lora_A.weight')!.dataSync() as Float32Array;
    expect(float32ToBfloat16(await file.float32('blk.0.attn_v.weight.lora_a'))).toEqual(float32ToBfloat16(a));
    expect(file.metadata.string('general.name')).toBe('mine');
    await file.close();
    peft.dispose();
    base.dispose();
  });
});
