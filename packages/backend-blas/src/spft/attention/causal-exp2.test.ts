/** @file The softmax of attention by powers of two, both ways, beside doubles. */
import { describe, expect, it } from 'vitest';
import { CONSTANTS_AT, CONSTANTS_BYTES, writeConstants } from '../../threads/constants.js';
import { kernelsOn } from '../../threads/kernels.js';

const ROWS_AT = CONSTANTS_AT + CONSTANTS_BYTES + 64;

/** Kernels, and numbers of the memory they work on. */
function setUp() {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
  memory.grow(15);
  writeConstants(memory);
  return { kernels: kernelsOn(memory), numbers: new Float32Array(memory.buffer) };
}

describe('causalExp2()', () => {
  it('has the powers of 2 to 4 units in the last place, and exactly 1 for the largest', () => {
    const { kernels, numbers } = setUp();
    const keys = 40_001;
    const first = ROWS_AT / 4;
    const scores = Float32Array.from({ length: keys }, (_, i) => (i / (keys - 1)) * -124);
    numbers.set(scores, first);
    const inverses = first + keys + 3;
    kernels.causalExp2(ROWS_AT, 4 * inverses, 1, 1, keys - 1, keys, keys);
    expect(numbers[first]).toBe(1);
    let sum = 0;
    for (let i = 0; i < keys; i++) {
      const exact = 2 ** scores[i]!;
      const unit = 2 ** (Math.floor(Math.log2(exact)) - 23);
      expect(Math.abs(numbers[first + i]! - exact) / unit).toBeLessThanOrEqual(4);
      sum += exact;
    }
    expect(numbers[inverses]! * sum).toBeCloseTo(1, 5);
  });

  it('hides the keys after each query, whatever lay there, and touches no number beyond the next multiple of four', () => {
    const { kernels, numbers } = setUp();
    const [heads, count, before, stride] = [2, 5, 6, 16] as const;
    const keys = before + count;
    const first = ROWS_AT / 4;
    numbers.fill(7, first, first + 2 * heads * count * stride);
    const [e, dp, inverses] = [first, first + heads * count * stride, first + 2 * heads * count * stride];
    for (let r = 0; r < heads * count; r++) {
      for (let j = 0; j < keys; j++) {
        const seen = j <= before + (r % count);
        numbers[e + r * stride + j] = seen ? Math.sin(r + 3 * j) : Number.NaN;
        numbers[dp + r * stride + j] = seen ? Math.cos(r + j) : Number.NaN;
      }
    }
    const [scores, gradients] = [e, dp].map((at) => numbers.slice(at, at + heads * count * stride));
    const sizes = [heads, count, before, keys, stride];
    kernels.causalExp2(4 * e, 4 * inverses, ...sizes);
    // What the caller does to a gradient: it has the row's factor.
    for (let r = 0; r < heads * count; r++) {
      for (let j = 0; j < keys; j++) numbers[dp + r * stride + j]! *= numbers[inverses + r]!;
    }
    kernels.causalExp2Grad(4 * e, 4 * dp, 4 * inverses, ...sizes);
    for (let r = 0; r < heads * count; r++) {
      const seen = before + (r % count) + 1;
      const row = (from: Float32Array) => [...from.subarray(r * stride, r * stride + seen)];
      const powers = row(scores!).map((s) => 2 ** s);
      const sum = powers.reduce((a, b) => a + b);
      const p = powers.map((x) => x / sum);
      const mean = row(gradients!).reduce((total, g, j) => total + g * p[j]!, 0);
      for (let j = 0; j < stride; j++) {
        const [made, grad] = [numbers[e + r * stride + j]!, numbers[dp + r * stride + j]!];
        if (j >= 12) expect([made, grad]).toEqual([7, 7]);
        else if (j >= keys) continue;
        else if (j >= seen) expect([made, grad]).toEqual([0, 0]);
        else {
          expect(made * numbers[inverses + r]!).toBeCloseTo(p[j]!, 6);
          expect(grad).toBeCloseTo(p[j]! * (gradients![r * stride + j]! - mean), 6);
        }
      }
    }
  });
});
