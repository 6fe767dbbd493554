import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../../test/support/allclose.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { layerOf } from '../../test/layers.js';
import { PATHS, usePath } from '../../test/paths.js';
import { indicesOf, random2d, someOf, valuesOf } from '../../test/selections.js';
import { gatedMlp } from './gated-mlp.js';
import { loraMlp } from './lora-mlp.js';
import { loraMlpGradReference, loraMlpReference } from './lora-mlp.reference.js';

interface Ranks {
  readonly gate: number;
  readonly up: number;
  readonly down: number;
}

function mlpOf(H: number, I: number, ranks: Ranks, keep: ReadonlySet<number> | null, bias = false) {
  const common = { bias, select: 0 };
  const gate = layerOf({ ...common, out: I, inputs: H, rank: ranks.gate }, 10);
  const up = layerOf({ ...common, out: I, inputs: H, rank: ranks.up }, 20);
  const down = layerOf({ ...common, out: H, inputs: I, rank: ranks.down }, 30);
  return {
    layers: { gate: gate.layer, up: up.layer, down: down.layer },
    plain: { gate: { ...gate.plain, keep }, up: { ...up.plain, keep }, down: { ...down.plain, keep } },
  };
}

describe.each(PATHS)('loraMlp() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    ['LoRA on all three, some rows dense', [9, 4, 6, 11], { gate: 2, up: 3, down: 1 }, true],
    ['LoRA on down alone, every row sparse', [5, 0, 6, 8], { gate: 0, up: 0, down: 2 }, true],
    ['LoRA on gate alone, every row dense', [5, 5, 6, 8], { gate: 2, up: 0, down: 0 }, true],
    ['LoRA on all three, nothing selected', [7, 7, 5, 9], { gate: 2, up: 2, down: 2 }, false],
    ['no rows', [0, 0, 5, 9], { gate: 2, up: 2, down: 2 }, true],
  ] as const)('equals its reference, and its gradients too: %s', (_, [T, D, H, I], ranks, sparse) => {
    const keep = sparse ? someOf(I) : null;
    const { layers, plain } = mlpOf(H, I, ranks, keep && new Set(indicesOf(keep)), true);
    const [x, residual, dy] = [random2d(T, H, 1), random2d(T, H, 2), random2d(T, H, 3)];
    const y = loraMlpReference(valuesOf(x), valuesOf(residual), T, plain, D);
    const expected = loraMlpGradReference(valuesOf(x), valuesOf(dy), T, plain, D);
    expectAllClose('y', loraMlp(x, residual, layers, keep, D), y);

    const parts = (['gate', 'up', 'down'] as const).filter((part) => ranks[part] > 0);
    const branches = parts.flatMap((part) => [layers[part].lora!.a, layers[part].lora!.b]);
    const f = (x: tf.Tensor, residual: tf.Tensor, ...given: tf.Tensor[]) => {
      const withBranches = { ...layers };
      parts.forEach((part, n) => {
        const [a, b] = [given[2 * n] as tf.Tensor2D, given[2 * n + 1] as tf.Tensor2D];
        withBranches[part] = { ...layers[part], lora: { ...layers[part].lora!, a, b } };
      });
      return loraMlp(x as tf.Tensor2D, residual as tf.Tensor2D, withBranches, keep, D);
    };
    const [dx, dresidual, ...others] = tf.grads(f)([x, residual, ...branches], dy);
    expectAllClose('dx', dx!, expected.dx, TOLERANCE.gradient);
    expectAllClose('dresidual', dresidual!, valuesOf(dy));
    parts.forEach((part, n) => {
      expectAllClose(`dA of ${part}`, others[2 * n]!, expected[part].dA!, TOLERANCE.gradient);
      expectAllClose(`dB of ${part}`, others[2 * n + 1]!, expected[part].dB!, TOLERANCE.gradient);
    });
  });

  it('is gatedMlp without adapters', () => {
    const { layers } = mlpOf(5, 8, { gate: 0, up: 0, down: 0 }, null, true);
    const [x, residual, keep] = [random2d(4, 5, 1), random2d(4, 5, 2), someOf(8)];
    expectAllClose('y', loraMlp(x, residual, layers, keep, 1), gatedMlp(x, residual, layers, keep, 1));
  });

  it('leaves one tensor, and none after its gradients', async () => {
    const { layers } = mlpOf(4, 6, { gate: 2, up: 2, down: 2 }, null);
    const [x, residual, keep] = [random2d(5, 4, 1), random2d(5, 4, 2), someOf(6)];
    await expectNoLeak(() => loraMlp(x, residual, layers, keep, 2), 1);
    await expectNoLeak(() =>
      tf.dispose(tf.grads((x, r) => loraMlp(x as tf.Tensor2D, r as tf.Tensor2D, layers, keep, 2))([x, residual])),
    );
  });

  it('says what it wanted when the shapes do not fit', () => {
    const { layers } = mlpOf(4, 6, { gate: 2, up: 2, down: 2 }, null);
    const x = tf.zeros([2, 4]) as tf.Tensor2D;
    // The kernel for all of it says so by its own name.
    expect(() => loraMlp(tf.zeros([2, 5]), x, layers, null, 2)).toThrow(
      /^(projectRows|loraMlp): x \[2,5\] must have as many columns/,
    );
    expect(() => loraMlp(x, x, layers, someOf(5), 2)).toThrow('the selection is of 5 channels');
  });
});
