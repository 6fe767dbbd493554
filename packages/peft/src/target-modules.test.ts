import { describe, expect, it } from 'vitest';
import { llamaShapes } from '../test/tiny-host.js';
import { completeLoraConfig, type LoraConfigInput } from './lora-config.js';
import { findTargets, targetModulesForFile } from './target-modules.js';

const NAMES = Object.keys(llamaShapes({ layers: 3 }));
const find = (input: LoraConfigInput, strict = true, names = NAMES) =>
  findTargets(names, completeLoraConfig(input), strict).map((target) => target.name);

describe('findTargets()', () => {
  it('takes ends of names after a dot, full names, and gives model order', () => {
    expect(find({ targetModules: ['v_proj', 'q_proj'] })).toEqual(NAMES.filter((name) => /(q|v)_proj$/.test(name)));
    expect(find({ targetModules: ['model.layers.1.mlp.up_proj'] })).toEqual(['model.layers.1.mlp.up_proj']);
    expect(find({ targetModules: ['1.self_attn.o_proj'] })).toEqual(['model.layers.1.self_attn.o_proj']);
  });

  it('does not take the end of a word', () => {
    expect(() => find({ targetModules: ['proj'] })).toThrow(
      "target_modules [\"proj\"] fits none of the model's linear layers; the model has 21 linear layers: 'q_proj'",
    );
  });

  it('takes a string with commas as a list, another as an expression for the whole name', () => {
    expect(find({ targetModules: 'q_proj, o_proj' })).toHaveLength(6);
    expect(find({ targetModules: '.*layers\\.[02]\\..*(?P<kind>gate|up)_proj' })).toEqual([
      'model.layers.0.mlp.gate_proj',
      'model.layers.0.mlp.up_proj',
      'model.layers.2.mlp.gate_proj',
      'model.layers.2.mlp.up_proj',
    ]);
    expect(() => find({ targetModules: 'layers\\.0\\..*' })).toThrow('fits none');
    expect(() => find({ targetModules: '(' })).toThrow("target_modules: '(' is no regular expression");
  });

  it("takes everything but the head for 'all-linear'", () => {
    const names = [...NAMES, 'lm_head'];
    expect(find({ targetModules: 'all-linear' }, true, names)).toEqual(NAMES);
    expect(find({ targetModules: 'ALL-LINEAR' }, true, names)).toEqual(NAMES);
    expect(targetModulesForFile(names, 'all-linear')).toEqual([
      'q_proj',
      'k_proj',
      'v_proj',
      'o_proj',
      'gate_proj',
      'up_proj',
      'down_proj',
    ]);
  });

  it('leaves out exclude_modules, by list or expression', () => {
    expect(find({ targetModules: ['q_proj'], excludeModules: ['layers.1.self_attn.q_proj'] })).toEqual([
      'model.layers.0.self_attn.q_proj',
      'model.layers.2.self_attn.q_proj',
    ]);
    expect(find({ targetModules: 'all-linear', excludeModules: '.*mlp.*' })).toHaveLength(12);
    expect(() => find({ targetModules: ['q_proj'], excludeModules: ['q_proj'] })).toThrow(
      'exclude_modules ["q_proj"] leaves none',
    );
  });

  it('takes only layers_to_transform, except for full names', () => {
    expect(find({ targetModules: ['q_proj'], layersToTransform: 2 })).toEqual(['model.layers.2.self_attn.q_proj']);
    expect(find({ targetModules: ['q_proj', 'model.layers.0.mlp.up_proj'], layersToTransform: [1] })).toEqual([
      'model.layers.0.mlp.up_proj',
      'model.layers.1.self_attn.q_proj',
    ]);
    expect(() => find({ targetModules: ['q_proj'], layersToTransform: [9] })).toThrow('in layers_to_transform [9]');
  });

  it('counts the layers of layers_pattern, and the first number in a name otherwise', () => {
    const names = ['model.layers.1.experts.0.up_proj', 'model.layers.0.experts.1.up_proj'];
    expect(find({ targetModules: ['up_proj'], layersToTransform: 1 }, true, names)).toEqual([names[0]]);
    expect(find({ targetModules: ['up_proj'], layersToTransform: 1, layersPattern: 'experts' }, true, names)).toEqual([
      names[1],
    ]);
  });

  it('gives ranks and alphas by pattern, the first that fits', () => {
    const config = completeLoraConfig({
      targetModules: ['q_proj', 'v_proj'],
      layersToTransform: [0, 1],
      rankPattern: { 'layers\\.0\\..*': 2, q_proj: 4 },
      alphaPattern: { '^model.layers.1.self_attn.v_proj': 32 },
    });
    expect(findTargets(NAMES, config).map(({ r, alpha }) => [r, alpha])).toEqual([
      [2, 8],
      [2, 8],
      [4, 8],
      [8, 32],
    ]);
  });

  it('fails for what fits nothing where a user wrote it, not where a file brings weights', () => {
    const input: LoraConfigInput = {
      targetModules: ['q_proj', 'c_attn'],
      excludeModules: ['lm_head'],
      rankPattern: { up_proj: 2 },
    };
    expect(() => find(input)).toThrow(
      "target_modules: 'c_attn' fits no layer; exclude_modules: 'lm_head' fits no layer; rank_pattern: 'up_proj' fits no layer that gets an adapter",
    );
    expect(find(input, false)).toHaveLength(3);
  });
});
