import { describe, expect, it } from 'vitest';
import { ByProduct } from './by-product.js';
import { type Product, planKey, productOf } from './product.js';

const BASE: Product = { m: 16, n: 32, k: 64, a: 4096, b: 8192, d: 12288, type: 'bf16', outputType: 'bf16' };

/** Products of which every two have another key. */
const OTHERS: Partial<Product>[] = [
  ...([
    { m: 17 },
    { n: 33 },
    { k: 65 },
    { transposeA: true },
    { transposeB: true },
    { type: 'f32' },
    { type: 'e4m3' },
  ] as const),
  ...([
    { outputType: 'f32' },
    { c: 20480 },
    { c: 20496 },
    { beta: 1 },
    { scaledByRow: true },
    { lda: 64 },
    { ldb: 64 },
  ] as const),
  ...([{ ldc: 64 }, { ldd: 64 }, { a: 4112 }, { b: 8194 }, { d: 12292 }, { a: 2 ** 45 + 128 }] as const),
  ...[
    { batch: 2 },
    { batch: 2, strideA: 0 },
    { batch: 2, strideA: 1 },
    { batch: 2, strideB: 1 },
    { batch: 2, strideD: 1 },
    { multiprocessors: 66 },
  ],
];

describe('ByProduct', () => {
  it('finds what has the same key, whatever its addresses, and nothing else', () => {
    const products = [BASE, ...OTHERS.map((other) => ({ ...BASE, ...other }))];
    expect(new Set(products.map(planKey)).size).toBe(products.length);
    const plans = new ByProduct<string>();
    for (const product of products) {
      expect(plans.get(product)).toBeUndefined();
      plans.add(product, planKey(product));
    }
    for (const product of products) {
      const elsewhere = { ...product, a: product.a + 2 ** 40, b: product.b + 512, alpha: 3 };
      expect(plans.get(elsewhere)).toBe(planKey(elsewhere));
      expect(planKey(elsewhere)).toBe(planKey(product));
    }
    expect([...plans.values()].sort()).toEqual(products.map(planKey).sort());
    expect(plans.size).toBe(products.length);
    plans.clear();
    expect([plans.size, plans.get(BASE)]).toEqual([0, undefined]);
  });

  it('takes what is said as its default for what is not said', () => {
    const { m, n, k, type, outputType, a, b, d } = BASE;
    const same = Object.assign(productOf(m, n, k, type, outputType), { a, b, d });
    expect(planKey(same)).toBe(planKey(BASE));
    const plans = new ByProduct<string>();
    plans.add(BASE, 'plan');
    expect(plans.get(same)).toBe('plan');
    expect(plans.get({ ...same, c: d })).toBe('plan');
  });
});
