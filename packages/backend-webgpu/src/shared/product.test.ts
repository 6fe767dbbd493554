/** @file Products and sums of sizes at which they are divided, or use larger tiles, against plain loops; products of matrices in 16 bits, against float32. */
import { storedTensor } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, it } from 'vitest';
import { describeWebGPU, useWebGPU, webgpu } from '../../test/webgpu.js';
import { output } from './call.js';
import { Gather, multiply, multiplyTogether, type Operand, type PlainProduct, plain, transposed } from './product.js';
import { sumInto } from './sum.js';

/** Numbers in [−1, 1) that look random. */
const numbers = (count: number, seed: number) =>
  Float32Array.from({ length: count }, (_, i) => (((i + 1) * 2654435761 * (seed + 1)) % 4096) / 2048 - 1);

interface Case {
  readonly product: PlainProduct;
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly c: Float32Array;
}

function caseOf(m: number, n: number, k: number, transposeA: boolean, transposeB: boolean, seed = 1): Case {
  const [a, b, c] = [numbers(m * k, seed), numbers(k * n, seed + 7), numbers(m * n, seed + 13)];
  const info = (values: Float32Array, shape: number[]) => webgpu().makeTensorInfo(shape, 'float32', values);
  const operand = (values: Float32Array, shape: number[], isTransposed: boolean): Operand =>
    isTransposed ? transposed(info(values, [shape[1]!, shape[0]!])) : plain(info(values, shape));
  const product = {
    ...{ m, n, k, alpha: 0.5, c: { x: info(c, [m, n]) } },
    ...{ a: operand(a, [m, k], transposeA), b: operand(b, [k, n], transposeB) },
  };
  // The backend takes over what it is given, and may upload it.
  return { product, a: a.slice(), b: b.slice(), c: c.slice() };
}

/** What is there, less c + Σ alpha · a · b of the cases, at most. */
async function errorOf(of: readonly Case[], accumulate: boolean): Promise<number> {
  const [{ product, c }] = of as [Case];
  const found = (await webgpu().read(product.c.x.dataId)) as Float32Array;
  let most = 0;
  // Of large ones not all, but some of each tile.
  const [down, across] = [product.m, product.n].map((size) => (size > 100 ? 13 : 1)) as [number, number];
  for (let i = 0; i < product.m; i += down) {
    for (let j = 0; j < product.n; j += across) {
      let value = accumulate ? c[i * product.n + j]! : 0;
      for (const { product, a, b } of of) {
        const [aT, bT] = [product.a.row === 1 && product.m > 1, product.b.row === 1 && product.k > 1];
        let sum = 0;
        for (let x = 0; x < product.k; x++) {
          sum += a[aT ? x * product.m + i : i * product.k + x]! * b[bT ? j * product.k + x : x * product.n + j]!;
        }
        value += product.alpha! * sum;
      }
      most = Math.max(most, Math.abs(value - found[i * product.n + j]!));
    }
  }
  return most;
}

function dispose(cases: readonly Case[]): void {
  const ids = new Set(cases.flatMap(({ product: { a, b, c } }) => [a.x.dataId, b.x.dataId, c.x.dataId]));
  for (const id of ids) webgpu().disposeData(id);
}

describeWebGPU('products', () => {
  beforeAll(useWebGPU);

  // A driver for processors takes a second to compile each variant: not all of them.
  const layouts = { plain: [false, false], 'b transposed': [false, true], 'a transposed': [true, false] } as const;
  it.each([
    ['b transposed', false, 641, 642, 19],
    ['a transposed', false, 65, 33, 40],
    ['plain', true, 65, 33, 40],
    ['a transposed', false, 33, 9, 1100],
    ['b transposed', true, 33, 9, 1100],
    ['b transposed', false, 1, 70, 530],
  ] as const)(
    '%s, added to what is there: %s; %i × %i × %i',
    { timeout: 120_000 },
    async (layout, accumulate, m, n, k) => {
      const before = webgpu().numDataIds();
      const [transposeA, transposeB] = layouts[layout];
      const one = caseOf(m, n, k, transposeA, transposeB);
      multiply(webgpu(), { ...one.product, accumulate });
      expect(await errorOf([one], accumulate)).toBeLessThan(2e-6 * (50 + k));
      dispose([one]);
      expect(webgpu().numDataIds()).toBe(before);
    },
  );

  // Odd widths, so that rows begin within words; a width of one; divided along k; larger tiles.
  it.each([
    ['plain', 'none', 33, 9, 7],
    ['plain', 'rowsOfB', 5, 33, 40],
    ['plain', 'columnsOfB', 5, 33, 40],
    ['plain', 'columnsOfAAndRowsOfB', 5, 33, 40],
    ['plain', 'columnsOfA', 5, 33, 40],
    ['b transposed', 'none', 33, 9, 7],
    ['b transposed', 'none', 4, 1, 1],
    ['b transposed', 'rowsOfB', 5, 33, 40],
    ['b transposed', 'columnsOfB', 5, 33, 40],
    ['a transposed', 'none', 9, 5, 1101],
    ['b transposed', 'none', 9, 5, 1101],
    ['b transposed', 'none', 641, 642, 19],
  ] as const)(
    '%s, gathered: %s, of matrices in 16 bits; %i × %i × %i',
    { timeout: 120_000 },
    async (layout, gathered, m, n, k) => {
      const before = webgpu().numDataIds();
      const [transposeA, transposeB] = layouts[layout];
      const gather = Gather[gathered];
      // Every other, in an order that is none.
      const some = (count: number) =>
        Int32Array.from({ length: Math.ceil(count / 2) }, (_, i) => (count - 1 - 2 * i + count) % count);
      const [ofN, ofK] = [some(n), some(k)];
      const chosen = gather === Gather.columnsOfB ? ofN : ofK;
      const indices = webgpu().makeTensorInfo([chosen.length], 'int32', chosen.slice());
      const [fewerK, fewerN] = [gather !== Gather.none && gather !== Gather.columnsOfB, gather === Gather.columnsOfB];
      const sizes = { m, n: fewerN ? ofN.length : n, k: fewerK ? ofK.length : k };
      // Rows of b alone are not chosen of a, and the other way round.
      const [aK, bK] = [gather === Gather.rowsOfB ? sizes.k : k, gather === Gather.columnsOfA ? sizes.k : k];
      const bShape = transposeB ? [n, bK] : [bK, n];
      const halves = Uint16Array.from(numbers(bK * n, 5), (x) => Math.trunc(x * 8191) & 0xbfff);
      const aValues = numbers(m * aK, 3);
      for (const type of ['BF16', 'F16'] as const) {
        const results: Float32Array[] = [];
        for (const inHalves of [true, false]) {
          webgpu().storesHalves = inHalves;
          const stored = storedTensor(new Uint8Array(halves.buffer), type, bShape);
          webgpu().storesHalves = true;
          expect(webgpu().halves.codeOf(stored) !== 0).toBe(inHalves);
          const a = webgpu().makeTensorInfo(transposeA ? [aK, m] : [m, aK], 'float32', aValues.slice());
          const c = output(webgpu(), [m, sizes.n]);
          multiply(webgpu(), {
            ...{
              ...sizes,
              a: transposeA ? transposed(a) : plain(a),
              b: transposeB ? transposed(stored) : plain(stored),
            },
            ...{ c: { x: c }, ...(gather !== Gather.none && { indices, gather }) },
          });
          results.push((await webgpu().read(c.dataId)) as Float32Array);
          for (const { dataId } of [a, c]) webgpu().disposeData(dataId);
          stored.dispose();
        }
        expect(results[0]!.some((x) => x !== 0)).toBe(true);
        expect(new Uint32Array(results[0]!.buffer)).toEqual(new Uint32Array(results[1]!.buffer));
      }
      webgpu().disposeData(indices.dataId);
      expect(webgpu().numDataIds()).toBe(before);
    },
  );

  it.each([
    ['each for itself', false, [true, true, true]],
    ['added up', true, [true, true, true]],
    ['not all in 16 bits', false, [true, false, true]],
  ] as const)('together, of matrices in 16 bits: %s', async (_, sum, which) => {
    const before = webgpu().numDataIds();
    const results: Float32Array[][] = [];
    for (const inHalves of [true, false]) {
      const all = which.map((one, n) => {
        const [m, width, k] = [35, sum ? 21 : 20 + n, 17 + n];
        webgpu().storesHalves = inHalves && one;
        const halves = Uint16Array.from(numbers(k * width, n), (x) => Math.trunc(x * 8191) & 0xbfff);
        const b = storedTensor(new Uint8Array(halves.buffer), 'BF16', [k, width]);
        webgpu().storesHalves = true;
        const a = webgpu().makeTensorInfo([m, k], 'float32', numbers(m * k, n + 5));
        return { a, b, c: output(webgpu(), [m, width]) };
      });
      const c = { x: all[0]!.c };
      const products = all.map(({ a, b, c: own }) => ({
        ...{ m: a.shape[0]!, n: b.shape[1]!, k: a.shape[1]! },
        ...{ a: plain(a), b: plain(b), c: sum ? c : { x: own } },
      }));
      const dispatches = webgpu().dispatches;
      multiplyTogether(webgpu(), products, { sum });
      const mixed = inHalves && which.some((one) => !one);
      expect(webgpu().dispatches - dispatches).toBe(mixed ? 3 : 1);
      const read = sum ? [all[0]!.c] : all.map(({ c }) => c);
      results.push(await Promise.all(read.map(async ({ dataId }) => (await webgpu().read(dataId)) as Float32Array)));
      for (const { a, b, c } of all) {
        for (const { dataId } of [a, c]) webgpu().disposeData(dataId);
        b.dispose();
      }
    }
    expect(results[0]).toEqual(results[1]);
    expect(webgpu().numDataIds()).toBe(before);
  });

  // Of four, more than a dispatch takes, one after the other.
  it.each([2, 3, 4])('%i together, each for itself', async (count) => {
    const of = (n: number) => caseOf(40 + n, [70, 20, 33, 5][n]!, [19, 64, 7, 33][n]!, false, true, n);
    const cases = Array.from({ length: count }, (_, n) => of(n));
    for (const accumulate of [false, true]) {
      if (accumulate) for (const one of cases) one.c.set((await webgpu().read(one.product.c.x.dataId)) as Float32Array);
      const dispatches = webgpu().dispatches;
      multiplyTogether(
        webgpu(),
        cases.map(({ product }) => product),
        { accumulate },
      );
      expect(webgpu().dispatches - dispatches).toBe(count > 3 ? count : 1);
      for (const one of cases) expect(await errorOf([one], accumulate)).toBeLessThan(1e-4);
    }
    dispose(cases);
  });

  // Along a long k one after the other.
  it.each([
    [2, 64],
    [3, 64],
    [4, 64],
    [2, 200],
  ])('%i together, added up along up to %i', async (count, k) => {
    for (const accumulate of [false, true]) {
      const cases = Array.from({ length: count }, (_, n) => caseOf(45, 37, [19, k, 7, 33][n]!, false, false, n));
      const c = cases[0]!.product.c;
      const products = cases.map(({ product }) => ({ ...product, c }));
      multiplyTogether(webgpu(), products, { accumulate, sum: true });
      expect(await errorOf(cases, accumulate)).toBeLessThan(1e-4);
      dispose(cases);
    }
  });

  it('into columns of one matrix', async () => {
    const cases = [0, 1, 2].map((n) => caseOf(35, 4 + n, 21, true, true, n));
    const whole = output(webgpu(), [35, 15]);
    const offsets = [0, 4, 9];
    multiplyTogether(
      webgpu(),
      cases.map(({ product }, n) => ({ ...product, c: { x: whole, row: 15, offset: offsets[n]! } })),
    );
    for (const { product } of cases) multiply(webgpu(), product);
    const found = (await webgpu().read(whole.dataId)) as Float32Array;
    for (const [n, { product }] of cases.entries()) {
      const expected = (await webgpu().read(product.c.x.dataId)) as Float32Array;
      expected.forEach((value, i) => {
        const at = Math.floor(i / product.n) * 15 + offsets[n]! + (i % product.n);
        expect(Math.abs(found[at]! - value)).toBeLessThan(1e-5);
      });
    }
    webgpu().disposeData(whole.dataId);
    dispose(cases);
  });

  it.each([1, 16384, 16385, 100_000])('sums of %i numbers', async (count) => {
    const values = numbers(count, 3);
    const expected = values.reduce((sum, x) => sum + Math.abs(x), 0);
    const x = webgpu().makeTensorInfo([count], 'float32', values.map(Math.abs));
    const y = output(webgpu(), [3]);
    sumInto(webgpu(), x, count, y, 1);
    sumInto(webgpu(), x, count, y, 2, { root: true });
    const found = (await webgpu().read(y.dataId)) as Float32Array;
    expect(found[1]! / expected).toBeCloseTo(1, 5);
    expect(found[2]! / Math.sqrt(expected)).toBeCloseTo(1, 5);
    for (const { dataId } of [x, y]) webgpu().disposeData(dataId);
    expect(tf.getBackend()).toBe('webgpu');
  });
});
