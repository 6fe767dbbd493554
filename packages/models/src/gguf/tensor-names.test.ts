import { describe, expect, it } from 'vitest';
import { TINY } from '../../test/tiny.js';
import { llamaTensors } from '../llama-config.js';
import { checkpointName, fromGgufRows, ggufName, hasOtherRows, toGgufRows } from './tensor-names.js';

describe('ggufName()', () => {
  it('names every tensor of a Llama as llama.cpp does, and back', () => {
    const names = [...llamaTensors({ ...TINY, attentionBias: true, mlpBias: true }).keys()];
    for (const name of names) expect(checkpointName(ggufName(name)!)).toBe(name);
    expect(ggufName('model.layers.12.self_attn.o_proj.weight')).toBe('blk.12.attn_output.weight');
    expect(ggufName('model.layers.2.mlp.gate_proj')).toBe('blk.2.ffn_gate');
    expect(ggufName('lm_head.weight')).toBe('output.weight');
    expect([
      ggufName('model.layers.1.x.weight'),
      checkpointName('blk.1.attn_qkv.weight'),
      checkpointName('v.weight'),
    ]).toEqual([...[undefined, undefined, undefined]]);
  });
});

describe('toGgufRows()', () => {
  it("puts elements that RoPE turns together beside each other, as convert_hf_to_gguf's permute does", () => {
    // Two heads of four rows, of two columns: weights.reshape(heads, 2, d/2, columns).swapaxes(1, 2).
    const rows = Float32Array.from({ length: 16 }, (_, i) => Math.floor(i / 2) + (i % 2) / 10);
    const permuted = toGgufRows(rows, 2, 4);
    expect(Array.from({ length: 8 }, (_, n) => Math.floor(permuted[2 * n]!))).toEqual([0, 2, 1, 3, 4, 6, 5, 7]);
    expect(fromGgufRows(permuted, 2, 4)).toEqual(rows);
    expect(hasOtherRows('model.layers.0.self_attn.k_proj.bias')).toBe(true);
    expect(hasOtherRows('model.layers.0.self_attn.v_proj.weight')).toBe(false);
  });
});
