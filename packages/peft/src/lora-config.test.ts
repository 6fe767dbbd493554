import { describe, expect, it } from 'vitest';
import { AdapterError } from './errors.js';
import { completeLoraConfig, LORA_DEFAULTS, splitNames } from './lora-config.js';

describe('completeLoraConfig()', () => {
  it('fills in what PEFT does', () => {
    const config = completeLoraConfig({ r: 16, targetModules: ['o_proj'] });
    expect(config).toEqual({ ...LORA_DEFAULTS, r: 16, targetModules: ['o_proj'] });
  });

  it('takes undefined as not said', () => {
    expect(completeLoraConfig({ r: undefined }).r).toBe(8);
  });

  it('names every problem at once', () => {
    const bad = { r: 0, loraDropout: 1, rankPattern: { q_proj: 1.5 }, loraAlpa: 3 } as never;
    expect(() => completeLoraConfig(bad)).toThrow(AdapterError);
    expect(() => completeLoraConfig(bad)).toThrow(
      /loraAlpa: there is no such key; did you mean loraAlpha\? \(there are r, loraAlpha/,
    );
    expect(() => completeLoraConfig(bad)).toThrow(/r: wanted a whole number, 1 or more, found 0/);
    expect(() => completeLoraConfig(bad)).toThrow(/loraDropout: wanted a number, 0 or more and less than 1, found 1/);
    expect(() => completeLoraConfig(bad)).toThrow(/rankPattern: wanted .* found {"q_proj":1.5}/);
  });

  it.each([
    [{ loraAlpha: Number.NaN }, /loraAlpha: wanted a finite number/],
    [{ targetModules: [] }, /targetModules: wanted a list of module names/],
    [{ initLoraWeights: 'pissa' as never }, /initLoraWeights: wanted .* found "pissa"/],
    [
      { targetModules: '.*q_proj', layersToTransform: [1] },
      /layersToTransform: only goes with a list of targetModules/,
    ],
    [{ targetModules: ['q_proj'], layersPattern: 'h' }, /layersPattern: only goes with layersToTransform/],
  ])('refuses %j', (input, message) => {
    expect(() => completeLoraConfig(input)).toThrow(message);
  });
});

describe('splitNames()', () => {
  it('makes a list of names with commas and leaves regular expressions and all-linear', () => {
    expect(splitNames('q_proj, v_proj')).toEqual(['q_proj', 'v_proj']);
    expect(splitNames('q_proj')).toEqual(['q_proj']);
    expect(splitNames('all-linear')).toBe('all-linear');
    expect(splitNames('.*\\.(q|v)_proj')).toBe('.*\\.(q|v)_proj');
    expect(splitNames(['o_proj'])).toEqual(['o_proj']);
  });
});
