import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { useBackend } from '../../../../test/support/backends.js';
import type { Llama3RopeScaling } from './rope-scaling.js';
import { ropeFrequencies, ropeRows, ropeTables } from './rope-tables.js';

const LLAMA_31: Llama3RopeScaling = {
  ropeType: 'llama3',
  factor: 8,
  lowFreqFactor: 1,
  highFreqFactor: 4,
  originalMaxPositionEmbeddings: 8192,
};

describe('ropeFrequencies()', () => {
  it('is theta to the power of -2i/d', () => {
    expectAllClose('frequencies', ropeFrequencies({ headDim: 8, theta: 10000 }), [1, 0.1, 0.01, 0.001]);
    const named = ropeFrequencies({ headDim: 8, theta: 10000, scaling: { ropeType: 'default' } });
    expect([...named]).toEqual([...ropeFrequencies({ headDim: 8, theta: 10000 })]);
  });

  it("is what transformers' formulas give in double precision for Llama 3.1 8B", () => {
    const frequencies = ropeFrequencies({ headDim: 128, theta: 500000, scaling: LLAMA_31 });
    const expected: [number, number][] = [
      [0, 1],
      [1, 0.8146172],
      [16, 0.03760603],
      [28, 0.003211446],
      [29, 0.002166571],
      [31, 0.0008567514],
      [33, 0.0003126938],
      [34, 0.0001785078],
      [35, 9.556212e-5],
      [36, 7.784655e-5],
      [48, 6.64787e-6],
      [63, 3.068926e-7],
    ];
    for (const [i, frequency] of expected) expect(frequencies[i]! / frequency).toBeCloseTo(1, 5);
  });

  it('keeps short wavelengths, stretches long ones, and interpolates between', () => {
    const plain = ropeFrequencies({ headDim: 128, theta: 500000 });
    const scaled = ropeFrequencies({ headDim: 128, theta: 500000, scaling: LLAMA_31 });
    plain.forEach((frequency, i) => {
      const wavelength = (2 * Math.PI) / frequency;
      if (wavelength < 2048) expect(scaled[i]).toBe(frequency);
      else if (wavelength > 8192) expect(scaled[i]).toBe(Math.fround(frequency / 8));
      else {
        expect(scaled[i]).toBeLessThan(frequency);
        expect(scaled[i]).toBeGreaterThan(frequency / 8);
      }
    });
  });

  it('refuses odd heads and unknown scalings', () => {
    expect(() => ropeFrequencies({ headDim: 7, theta: 1e4 })).toThrow('headDim is 7');
    const longrope = { ropeType: 'longrope' } as unknown as Llama3RopeScaling;
    expect(() => ropeFrequencies({ headDim: 8, theta: 1e4, scaling: longrope })).toThrow("unknown ropeType 'longrope'");
  });
});

describe('ropeTables()', () => {
  it('holds cosine and sine of position times frequency', () => {
    const { cos, sin, positions, halfDim } = ropeTables({ headDim: 4, theta: 100, positions: 3 });
    expect([positions, halfDim]).toEqual([3, 2]);
    const angles = [0, 0, 1, 0.1, 2, 0.2];
    expectAllClose('cos', cos, angles.map(Math.cos));
    expectAllClose('sin', sin, angles.map(Math.sin));
  });
});

describe('ropeRows()', () => {
  beforeAll(() => useBackend('cpu'));
  const tables = ropeTables({ headDim: 4, theta: 100, positions: 3 });

  it('takes the row of each position', () => {
    const { cos, sin } = ropeRows(tables, Int32Array.of(2, 0, 2));
    expect(cos.shape).toEqual([3, 2]);
    expectAllClose('cos', cos, [2, 0.2, 0, 0, 2, 0.2].map(Math.cos));
    expectAllClose('sin', sin, [2, 0.2, 0, 0, 2, 0.2].map(Math.sin));
    tf.dispose([cos, sin]);
  });

  it('refuses a position outside the tables', () => {
    expect(() => ropeRows(tables, [0, 3])).toThrow('position 3 of row 1 is outside the tables, which end at 2');
  });
});
