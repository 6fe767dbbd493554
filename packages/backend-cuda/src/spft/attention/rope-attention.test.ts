/** @file Attention with the rotation within it, in bf16 on tensor cores and in float: the bits are those of the rotation and the attention one by one. */
import { packedAttention, packTokens, rope, ropeAttention } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { cuda, describeCuda, emulated } from '../../../test/cuda.js';
import { bf16, expectOp, f32 } from '../../../test/ops.js';
import { restartCuda } from '../../index.js';

type M = tf.Tensor2D;

const CASES = [
  // On tensor cores: tiles of queries and keys that are full, and some that are not.
  [[150, 1, 20], { heads: 8, kvHeads: 2, headDim: 128 }],
  [[9, 140], { heads: 3, kvHeads: 1, headDim: 64 }],
  [[300, 3], { heads: 2, kvHeads: 1, headDim: 64 }],
  [[3], { heads: 2, kvHeads: 2, headDim: 64 }],
  // In float arithmetic.
  [[5, 40], { heads: 4, kvHeads: 2, headDim: 12 }],
  [[], { heads: 4, kvHeads: 2, headDim: 64 }],
] as const;

function itAttends(cases: readonly (typeof CASES)[number][]): void {
  it.each(cases)('of sequences of %j, %j: y and its gradients', async (lengths, heads) => {
    const layout = packTokens({ lengths: [...lengths], dense: (t) => t % 3 === 1 });
    const { tokens: T } = layout;
    const { heads: N, kvHeads: K, headDim: d } = heads;
    const together = (q: M, k: M, v: M, cos: M, sin: M) => ropeAttention(q, k, v, { cos, sin }, layout, heads);
    const apart = (q: M, k: M, v: M, cos: M, sin: M) =>
      packedAttention(rope(q, cos, sin, d), rope(k, cos, sin, d), v, layout, heads);
    const gradients = (f: typeof together) => (q: M, k: M, v: M, cos: M, sin: M, dy: M) => [
      f(q, k, v, cos, sin),
      ...tf.grads((q, k, v) => f(q as M, k as M, v as M, cos, sin))([q, k, v], dy),
    ];
    const bits: string[] = [];
    const noting =
      (f: ReturnType<typeof gradients>) =>
      (...inputs: Parameters<ReturnType<typeof gradients>>) => {
        const made = f(...inputs);
        if (tf.getBackend() === 'cuda')
          bits.push(made.map((t) => Buffer.from(t.dataSync().buffer).toString('base64')).join());
        return made;
      };
    for (const kind of [bf16, f32]) {
      const inputs = [kind(T, N * d), kind(T, K * d), kind(T, K * d), f32(T, d / 2), f32(T, d / 2), kind(T, N * d)];
      // With three keys a gradient of q is a difference of what bf16 has rounded: 2.7 % with one seed of many. What counts is that the bits are the same.
      const options =
        kind === bf16 ? { physical: Array<'bf16'>(4).fill('bf16'), tolerance: 5e-2 } : { tolerance: 1e-4 };
      bits.length = 0;
      await expectOp('ropeAttention', inputs, noting(gradients(together)), options);
      const first = bits.splice(0);
      await expectOp('rope and packedAttention', inputs, noting(gradients(apart)), options);
      expect(bits).toEqual(first);
    }
  });
}

describeCuda('ropeAttention()', () => itAttends(CASES));

describeCuda('ropeAttention() whose gradient makes dS twice', () => {
  let usual = 0;
  beforeAll(() => {
    usual = cuda().storesDsUpTo;
    cuda().storesDsUpTo = 0;
  });
  afterAll(() => {
    cuda().storesDsUpTo = usual;
  });
  itAttends(CASES.slice(0, 3));
});

/** What other GPUs run, and what may go wrong on one without being seen: the emulator has a setting for each. */
const SETTINGS: [string, Readonly<Record<string, string>>, readonly (typeof CASES)[number][]][] = [
  ['with the products of GPUs before Hopper', { CAPABILITY: '8.0' }, CASES.slice(0, 4)],
  // Not both at once: the last product of a block of grad_q has a result that nobody reads, and its operand is written meanwhile.
  ["with Hopper's products as late as may be", { PRODUCTS: 'late' }, CASES.slice(1, 2)],
  ['with every store watched', { PROXY: '1' }, CASES.slice(1, 2)],
];
describe.skipIf(!emulated).each(SETTINGS)('on the emulator %s', (_, settings, cases) => {
  describeCuda('ropeAttention()', () => {
    beforeAll(async () => {
      for (const [name, value] of Object.entries(settings)) vi.stubEnv(`SPFT_EMULATOR_${name}`, value);
      await restartCuda();
    });
    afterAll(async () => {
      vi.unstubAllEnvs();
      await restartCuda();
    });
    itAttends(cases);
  });
});
