import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import fixture from '../../test/fixtures/adamw-8bit.json' with { type: 'json' };
import { PATHS, usePath } from '../../test/paths.js';
import { adamw8bitUpdate, momentTablesTensor, zeroMoments8bit } from './adamw-8bit.js';
import { adamw8bitReference, dequantiseReference, type Moment8bit, nearestCode } from './adamw-8bit.reference.js';
import { BLOCK, codeThresholds, dynamicMap } from './dynamic-map.js';
import { adamwUpdate, zeroMoments } from './optimizer-update.js';

const bytes = (text: string) => Uint8Array.from(Buffer.from(text, 'base64'));
const floats = (text: string) => new Float32Array(bytes(text).buffer);

/** As adamw_8bit.py makes them. */
const { size, options } = fixture;
const start = Float32Array.from({ length: size }, (_, i) => Math.cos(i * 3.1));
const gradientOf = (step: number) =>
  Float32Array.from({ length: size }, (_, i) =>
    i % 7 === 3 ? 0 : Math.sin(i * 12.9898 + step * 78.233) * 10 ** (Math.sin(i * 0.7 + step) * 3 - 3),
  );
const ZERO = (): Moment8bit => ({ codes: new Uint8Array(size), scales: new Float32Array(Math.ceil(size / BLOCK)) });

/** bitsandbytes' rounding on the CPU: by a table of 65536 places (`quantize_cpu_impl`, csrc/cpu_ops.cpp). */
const tables = new Map<Float32Array, Uint8Array>();
function tableCode(x: number, map: Float32Array): number {
  let table = tables.get(map);
  if (!table) {
    let code = 0;
    table = Uint8Array.from({ length: 65536 }, (_, i) => {
      const value = Math.fround(-1 + Math.fround(Math.fround(2 * i) / 65535));
      while (code < 255 && Math.fround(0.5 * Math.fround(map[code]! + map[code + 1]!)) < value) code++;
      return code;
    });
    tables.set(map, table);
  }
  return table[Math.floor(Math.fround(Math.fround(Math.fround(Math.fround(x + 1) * 0.5) * 65535) + 0.5))]!;
}

describe('dynamicMap() and codeThresholds()', () => {
  it.each([true, false])('signed %s: have the values of bitsandbytes, and round as its CUDA kernel does', (signed) => {
    const wanted = signed ? fixture.signed : fixture.unsigned;
    // The last bit of torch.linspace depends on how many numbers the processor handles at once.
    const map = floats(wanted.map);
    expectAllClose('map', dynamicMap(signed), map, { relative: 2 ** -22, absolute: 0 });
    const thresholds = codeThresholds(map);
    const codes = bytes(wanted.codes);
    const x = floats(wanted.x);
    expect(x.length).toBeGreaterThan(1500);
    x.forEach((value, n) => {
      expect(nearestCode(value, map), `${value}`).toBe(codes[n]);
      expect(thresholds.filter((threshold) => value >= threshold).length, `${value}`).toBe(codes[n]);
    });
  });
});

describe('adamw8bitReference()', () => {
  it('takes the steps of bitsandbytes’ AdamW8bit, each from its state before; rounded as its CPU library does', () => {
    let [p, first, second]: [Float32Array, Moment8bit, Moment8bit] = [start, ZERO(), ZERO()];
    fixture.steps.forEach((state, n) => {
      const made = adamw8bitReference(p, gradientOf(n + 1), first, second, {
        ...{ ...options, step: n + 1, scale: 1, round: tableCode },
      });
      p = made.p;
      const wanted = [
        { codes: bytes(state.state1), scales: floats(state.absmax1) },
        { codes: bytes(state.state2), scales: floats(state.absmax2) },
      ] as const;
      [made.first, made.second].forEach((moment, kind) => {
        expectAllClose('scales', moment.scales, wanted[kind]!.scales, { relative: 1e-6, absolute: 1e-12 });
        const other = moment.codes.filter((code, i) => code !== wanted[kind]!.codes[i]);
        // It multiplies by 1 / scale where we divide, so numbers that lie on the edge of a place fall on either side.
        expect(other.length, `codes of moment ${kind + 1} after step ${n + 1}`).toBeLessThanOrEqual(8);
        moment.codes.forEach((code, i) => {
          expect(Math.abs(code - wanted[kind]!.codes[i]!)).toBeLessThanOrEqual(1);
        });
      });
      [first, second] = wanted;
    });
    expectAllClose('p', p, floats(fixture.p), { relative: 1e-6, absolute: 1e-7 });
  });
});

const SHAPES = [[70, 60], [5], [0, 2], [300]];
const variables = () =>
  SHAPES.map((shape, n) => tf.tidy(() => tf.variable(tf.randomNormal(shape, 0, 1, 'float32', n + 1))));
const gradientsOf = (step: number) =>
  SHAPES.map((shape, n) => tf.randomNormal(shape, 0, 10 ** (n - 2), 'float32', 10 * step + n + 1));

describe.each(PATHS)('adamw8bitUpdate() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it('takes the steps of its reference, codes included, with decay and scaled gradients', () => {
    const parameters = variables();
    const state = zeroMoments8bit(parameters);
    const [constants, gradientScale] = [momentTablesTensor(), tf.scalar(0.3)];
    const wanted = parameters.map((p): { p: Float32Array; first: Moment8bit; second: Moment8bit } => {
      const blocks = Math.ceil(p.size / BLOCK);
      const zero = () => ({ codes: new Uint8Array(blocks * BLOCK), scales: new Float32Array(blocks) });
      return { p: p.dataSync().slice() as Float32Array, first: zero(), second: zero() };
    });
    for (let step = 1; step <= 3; step++) {
      const gradients = gradientsOf(step);
      const common = { learningRate: 0.05, weightDecay: 0.1, beta1: 0.8, beta2: 0.95, epsilon: 1e-3, step };
      adamw8bitUpdate(parameters, gradients, state, constants, { ...common, gradientScale });
      parameters.forEach((p, n) => {
        const length = wanted[n]!.first.codes.length;
        const filled = (values: ArrayLike<number>) => Float32Array.from({ length }, (_, i) => values[i] ?? 0);
        const { p: before, first, second } = wanted[n]!;
        const g = filled(gradients[n]!.dataSync());
        const made = adamw8bitReference(filled(before), g, first, second, { ...common, scale: 0.3 });
        expectAllClose(`parameter ${n}`, p, made.p.subarray(0, p.size));
        const [codes, squares] = [state.firstCodes[n]!, state.secondCodes[n]!].map(
          (words) => new Uint8Array(words.dataSync<'int32'>().slice().buffer),
        ) as [Uint8Array, Uint8Array];
        expect(codes, `codes ${n} of step ${step}`).toEqual(made.first.codes);
        expect(squares, `codes of squares ${n} of step ${step}`).toEqual(made.second.codes);
        expectAllClose(`scales ${n}`, state.firstScales[n]!, made.first.scales);
        expectAllClose(`scales of squares ${n}`, state.secondScales[n]!, made.second.scales);
        wanted[n] = { ...made, p: made.p.subarray(0, p.size) };
      });
      tf.dispose(gradients);
    }
  });

  it('goes where AdamW goes, as near as 8 bits are', () => {
    const [p, q] = [tf.variable(tf.zeros([512])), tf.variable(tf.zeros([512]))];
    const state = zeroMoments8bit([p]);
    const exact = { firstMoments: zeroMoments([q]), secondMoments: zeroMoments([q]) };
    const constants = momentTablesTensor();
    for (let step = 1; step <= 20; step++) {
      const gradients = [tf.randomNormal([512], 1, 0.3, 'float32', step)];
      const common = { learningRate: 0.01, step };
      adamw8bitUpdate([p], gradients, state, constants, common);
      adamwUpdate([q], gradients, exact, common);
      tf.dispose(gradients);
    }
    expectAllClose('p', p, q, { relative: 0.02, absolute: 0 });
    const [codes, scales] = [state.firstCodes[0]!, state.firstScales[0]!];
    const stored = { codes: new Uint8Array(codes.dataSync<'int32'>().slice().buffer), scales: scales.dataSync() };
    const moments = dequantiseReference(stored as Moment8bit, dynamicMap(true));
    expectAllClose('moments', moments, exact.firstMoments[0]!, { relative: 0.1, absolute: 1e-3 });
  });

  it('leaves nothing behind, and refuses what does not fit', async () => {
    const parameters = variables();
    const state = zeroMoments8bit(parameters);
    const [gradients, constants] = [gradientsOf(1), momentTablesTensor()];
    const step = (g: tf.Tensor[], changed = {}) =>
      adamw8bitUpdate(parameters, g, { ...state, ...changed }, constants, { learningRate: 0.1, step: 1 });
    await expectNoLeak(() => step(gradients));
    expect(() => step([])).toThrow("0 tensors 'g' for 4 parameters");
    expect(() => step(gradients, { firstScales: state.firstCodes })).toThrow(
      "'mScales' of parameter 0 is [1088], wanted [17] for a parameter of [70,60]",
    );
    expect(() => adamw8bitUpdate(parameters, gradients, state, constants, { learningRate: 1, step: 0 })).toThrow(
      'steps count from 1',
    );
  });
});
