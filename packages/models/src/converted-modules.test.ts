import { describe, expect, it } from 'vitest';
import { TINY } from '../test/tiny.js';
import { isNamedBy, wantedForms } from './converted-modules.js';
import { llamaTensors } from './llama-config.js';

const inForm = (options: Parameters<typeof wantedForms>[1]) => {
  const formOf = wantedForms(TINY, options);
  return [...llamaTensors(TINY).keys()].filter((name) => formOf(name) !== null);
};
const LAYERS = [...llamaTensors(TINY).keys()].filter((name) => name.includes('_proj.weight'));

describe('wantedForms', () => {
  it('converts the matrices of linear layers, and with quantiseEmbeddings the tables in 4 bits', () => {
    expect(inForm({})).toEqual([]);
    expect(inForm({ basePrecision: 'fp8' })).toEqual(LAYERS);
    expect(inForm({ basePrecision: 'fp8', quantiseEmbeddings: true })).toEqual(LAYERS);
    const tables = [...llamaTensors(TINY).keys()].filter((name) => /embed_tokens|lm_head/.test(name));
    expect(tables.length).toBeGreaterThan(0);
    expect(inForm({ basePrecision: 'nf4', quantiseEmbeddings: true }).sort()).toEqual([...LAYERS, ...tables].sort());
  });

  it.each([
    ['k_proj', (name: string) => name.includes('k_proj')],
    ['mlp.down_proj', (name: string) => name.includes('down_proj')],
    ['model.layers.0', (name: string) => name.includes('layers.0.')],
    ['self_attn', (name: string) => name.includes('self_attn')],
    ['model.layers.1.mlp.up_proj', (name: string) => name === 'model.layers.1.mlp.up_proj.weight'],
  ])('leaves %s as it is', (given, means) => {
    const left = LAYERS.filter(means);
    expect(left.length).toBeGreaterThan(0);
    expect(inForm({ basePrecision: 'nf4', modulesToNotConvert: [given] })).toEqual(
      LAYERS.filter((name) => !means(name)),
    );
  });

  it('takes parts of a name whole', () => {
    expect(isNamedBy('proj', 'model.layers.0.mlp.up_proj')).toBe(false);
    expect(isNamedBy('layers.1', 'model.layers.11.mlp.up_proj')).toBe(false);
    expect(isNamedBy('', 'model.layers.0.mlp.up_proj')).toBe(false);
  });

  it('refuses names of nothing that is converted, and any where nothing is', () => {
    expect(() => inForm({ modulesToNotConvert: ['k_proj'] })).toThrow('but no weights are converted');
    expect(() => inForm({ basePrecision: 'fp8', modulesToNotConvert: ['k_proj', 'kproj'] })).toThrow(
      'no module that is converted is named kproj; wanted q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj',
    );
    expect(() => inForm({ basePrecision: 'nf4', modulesToNotConvert: ['lm_head'] })).toThrow('is named lm_head');
    expect(() => inForm({ basePrecision: 'int8' as never })).toThrow("basePrecision is 'int8'");
  });
});
