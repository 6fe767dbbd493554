/** @file The shapes of a run: few, with room for every batch, and without padding where sizes repeat. */
import { readFileSync } from 'node:fs';
import { packTokens } from '@spft/sparse-ops';
import { describe, expect, it } from 'vitest';
import { epochSteps, planRun } from '../loop/run-plan.js';
import { type BatchSize, joinSizes, StepShapes, sizeOf } from './step-shapes.js';

const size = (denseRows: number, sparseRows: number, denseLossRows = denseRows, sequences = 8): BatchSize => ({
  ...{ denseRows, sparseRows, denseLossRows, sparseLossRows: 1, sequences },
  longest: Math.ceil((denseRows + sparseRows) / sequences) + 7,
});

/** Batches of eight samples with lengths of a long tail. */
const many = Array.from({ length: 600 }, (_, n) => {
  const tail = 1 + ((n * 7919) % 101) / 50 + (n % 97 === 0 ? 4 : 0);
  return size(
    Math.round(90 * tail) + (n % 13),
    Math.round(310 * tail) + ((n * 31) % 57),
    undefined,
    n % 50 === 49 ? 3 : 8,
  );
});

describe('StepShapes', () => {
  it('has room for every batch of a run in at most eight shapes, with little padding', () => {
    const shapes = new StepShapes(many, 8);
    const used = new Set<string>();
    let [rows, padded] = [0, 0];
    for (const each of many) {
      const shape = shapes.of(each);
      used.add(JSON.stringify(shape));
      for (const key of ['denseRows', 'sparseRows', 'denseLossRows', 'sparseLossRows', 'longest'] as const) {
        expect(shape[key]).toBeGreaterThanOrEqual(each[key]);
      }
      const padding = shape.denseRows + shape.sparseRows - each.denseRows - each.sparseRows;
      expect(each.sequences + Math.ceil(padding / shape.longest)).toBeLessThanOrEqual(shape.sequences);
      rows += each.denseRows + each.sparseRows;
      padded += padding;
    }
    expect(used.size).toBeLessThanOrEqual(8);
    expect(shapes.all).toHaveLength(8);
    expect(padded / rows).toBeLessThan(0.12);
  });

  it.each([
    [4, 1],
    [8, 1],
    [8, 2],
    [16, 3],
  ])(
    'has room in eight shapes for every batch of three epochs of real data, of which it saw 400: %i samples, seed %i',
    (batch, seed) => {
      const file = new URL('../../test/fixtures/math-lengths.json', import.meta.url);
      const { prompts, answers } = JSON.parse(readFileSync(file, 'utf8')) as Record<'prompts' | 'answers', number[]>;
      const args = { perDeviceTrainBatchSize: batch, gradientAccumulationSteps: 1, numTrainEpochs: 3, maxSteps: -1 };
      const plan = planRun(prompts.length, args);
      const batches = [0, 1, 2].flatMap((epoch) => epochSteps(plan, seed, epoch).map(([samples]) => samples!));
      const sizes = batches.map((samples): BatchSize => {
        const sum = (of: (n: number) => number) => samples.reduce((total, n) => total + of(n), 0);
        return {
          ...{ denseRows: sum((n) => answers[n]!), sparseRows: sum((n) => prompts[n]!) },
          ...{ denseLossRows: sum((n) => answers[n]! - 1), sparseLossRows: samples.length, sequences: samples.length },
          longest: Math.max(...samples.map((n) => prompts[n]! + answers[n]!)),
        };
      });
      const shapes = new StepShapes(sizes.slice(0, 400), 8, false);
      const used = new Set<string>();
      let [rows, padded] = [0, 0];
      for (const each of sizes) {
        const shape = shapes.of(each);
        used.add(JSON.stringify(shape));
        rows += each.denseRows + each.sparseRows;
        padded += shape.denseRows + shape.sparseRows - each.denseRows - each.sparseRows;
      }
      expect(used.size).toBeLessThanOrEqual(8);
      expect(padded / rows).toBeLessThan(0.16);
    },
  );

  it('pads nothing where there are no more sizes than shapes', () => {
    const sizes = [size(10, 33), size(12, 31), size(7, 2)];
    const shapes = new StepShapes([...sizes, ...sizes], 8);
    for (const each of sizes) expect(shapes.of(each)).toEqual(each);
  });

  it('has fewer shapes where a shape is worth more than the padding that it spares, never at the price of much padding', () => {
    const paddedBy = (shapes: StepShapes) => {
      let [rows, padded] = [0, 0];
      for (const each of many) {
        const shape = shapes.of(each);
        rows += each.denseRows + each.sparseRows;
        padded += shape.denseRows + shape.sparseRows - each.denseRows - each.sparseRows;
      }
      return padded / rows;
    };
    const [eight, worthless, fewer, fewest] = [0, 1, 8000, 1e9].map((worth) => new StepShapes(many, 8, true, worth));
    expect(worthless!.all).toEqual(eight!.all);
    expect(fewer!.all.length).toBeLessThan(8);
    expect(fewer!.all.length).toBeGreaterThan(fewest!.all.length);
    // Each shape less was worth it.
    expect(paddedBy(fewer!)).toBeLessThan(paddedBy(eight!) + ((8 - fewer!.all.length) * 8000) / (400 * many.length));
    expect(fewest!.all.length).toBeGreaterThan(1);
    expect(paddedBy(fewest!)).toBeLessThan(0.3);
    for (const each of many) for (const shapes of [fewer!, fewest!]) expect(shapes.all).toContainEqual(shapes.of(each));
  });

  it('joins sizes that repeat where that is worth it, and pads them then', () => {
    const sizes = [size(10, 300), size(12, 301), size(300, 900)];
    const shapes = new StepShapes([...sizes, ...sizes], 8, true, 200);
    expect(shapes.all).toHaveLength(2);
    const [small, other, large] = sizes.map((each) => shapes.of(each));
    expect(small).toEqual(other);
    expect(small).toMatchObject({ denseRows: 16, sparseRows: 304 });
    expect(small!.sequences).toBeGreaterThan(8);
    expect(large).toMatchObject({ denseRows: 304, sparseRows: 912 });
  });

  it('has sequences for padding where micro-batches of a step differ, though every step is of the same size', () => {
    const step = joinSizes([size(10, 33), size(7, 30)]);
    const shape = new StepShapes([step, step], 8).of(step);
    expect(shape).toMatchObject({ denseRows: 10, sparseRows: 33 });
    expect(shape.sequences).toBeGreaterThanOrEqual(8 + Math.ceil(6 / shape.longest));
    expect(shape).not.toHaveProperty('mixed');
  });

  it('makes a shape for a size that nobody foresaw, that others of about that size have too, whatever came before', () => {
    const shapes = new StepShapes([size(10, 33)], 8);
    const made = shapes.of(size(100, 333));
    expect(made).toMatchObject({ denseRows: 128, sparseRows: 384 });
    shapes.of(size(127, 380));
    expect(shapes.of(size(98, 330))).toEqual(made);
    expect(shapes.of(size(10, 33))).toEqual(size(10, 33));
  });
});

describe('sizeOf() and joinSizes()', () => {
  it('measure a batch, and have room for several', () => {
    const layout = packTokens({ lengths: [3, 5], dense: (token) => token > 4 });
    const rows = {
      ids: new Int32Array(8),
      lossRows: Int32Array.of(0, 1, 6),
      lossLabels: new Int32Array(3),
      denseLossRows: 2,
    };
    const measured = sizeOf(layout, rows);
    expect(measured).toEqual({
      ...{ denseRows: 3, sparseRows: 5, denseLossRows: 2, sparseLossRows: 1, sequences: 2, longest: 5 },
    });
    expect(joinSizes([measured, { ...measured }])).toEqual(measured);
    const joined = joinSizes([measured, { ...measured, denseRows: 9, longest: 4 }]);
    expect(joined).toEqual({ ...measured, denseRows: 9, mixed: true });
  });
});
