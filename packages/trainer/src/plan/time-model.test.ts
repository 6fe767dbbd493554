import { describe, expect, it } from 'vitest';
import { type LayerTime, TimeModel } from './time-model.js';

const time = (module: LayerTime['module'], sparsity: number, sparseTokens: number, seconds: number): LayerTime => ({
  ...{ module, sparsity, sparseTokens, seconds },
});

const model = new TimeModel({
  step: 20,
  layer: 2,
  sparse: [
    time('mlp', 0.5, 0.4, 1.8),
    time('mlp', 0.9, 0.4, 1.6),
    time('mlp', 0.5, 0.8, 1.6),
    time('mlp', 0.9, 0.8, 1.2),
    time('self_attn', 0.9, 0.4, 2.2),
  ],
});

describe('TimeModel', () => {
  it('has the measured times, and straight lines between them', () => {
    expect(model.layerShare('mlp', 0.9, 0.8)).toBeCloseTo(0.6, 12);
    expect(model.layerShare('mlp', 0.7, 0.8)).toBeCloseTo(0.7, 12);
    expect(model.layerShare('mlp', 0.9, 0.6)).toBeCloseTo(0.7, 12);
    expect(model.layerShare('mlp', 0.7, 0.6)).toBeCloseTo(0.775, 12);
  });

  it('goes no further than what was measured', () => {
    expect(model.layerShare('mlp', 0.99, 0.8)).toBe(model.layerShare('mlp', 0.9, 0.8));
    expect(model.layerShare('mlp', 0.1, 0.1)).toBe(model.layerShare('mlp', 0.5, 0.4));
  });

  it('says what a layer saves of a step, below 0 where it is slower', () => {
    expect(model.saving('mlp', 0.9, 0.8)).toBeCloseTo(0.8 / 20, 12);
    expect(model.saving('self_attn', 0.5, 0.8)).toBeCloseTo(-0.2 / 20, 12);
    expect(model.noise).toBeCloseTo(0.02 / 20, 12);
  });

  it('corrects what a layer saves alone by a step in which all layers are sparse', () => {
    const mlp = { module: 'mlp', sparsity: 0.9, sparseTokens: 0.8 } as const;
    // Of the 20 of a step, five layers alone would save 5 × 0.8; 5 are saved.
    const more = new TimeModel({ ...model.times, joint: [{ ...mlp, share: 0.75, layers: 5 }] });
    expect(more.saving('mlp', 0.9, 0.8)).toBeCloseTo(0.05, 12);
    expect(more.saving('mlp', 0.5, 0.8)).toBeCloseTo(0.025, 12);
    expect(more.saving('self_attn', 0.9, 0.4)).toBe(model.saving('self_attn', 0.9, 0.4));
    expect(more.layerShare('mlp', 0.9, 0.8)).toBe(model.layerShare('mlp', 0.9, 0.8));
    // A layer alone is slower by a hundredth of the step, all five of them save a tenth of it.
    const attention = { module: 'self_attn', sparsity: 0.9, sparseTokens: 0.4 } as const;
    const saved = new TimeModel({ ...model.times, joint: [{ ...attention, share: 0.9, layers: 5 }] });
    expect(saved.saving('self_attn', 0.9, 0.4)).toBeCloseTo(0.02, 12);
    // And where a layer alone saves, but in the step nothing is saved.
    const lost = new TimeModel({ ...model.times, joint: [{ ...mlp, share: 1.1, layers: 5 }] });
    expect(lost.saving('mlp', 0.9, 0.8)).toBeCloseTo(-0.02, 12);
    expect(lost.saving('mlp', 0.5, 0.8)).toBeCloseTo(-0.04, 12);
  });

  it('refuses times that are none, and a module that was not measured', () => {
    expect(() => new TimeModel({ step: 1, layer: 0, sparse: [] })).toThrow('a time must be above 0, got 0');
    expect(() => new TimeModel({ step: 1, layer: 1, sparse: [time('mlp', 0.5, 1, Number.NaN)] })).toThrow('got NaN');
    const joint = [{ module: 'mlp', sparsity: 0.5, sparseTokens: 1, share: 0, layers: 1 }] as const;
    expect(() => new TimeModel({ ...model.times, joint })).toThrow('got 0');
    expect(() => new TimeModel({ step: 1, layer: 1, sparse: [] }).saving('mlp', 0.5, 1)).toThrow('was not measured');
  });
});
