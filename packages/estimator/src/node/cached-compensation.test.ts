import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packTokens } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { useBackend } from '../../../../test/support/backends.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { type FakeHost, fakeHost } from '../../test/fake-host.js';
import type { CalibrationData } from '../calibration.js';
import { type CompensationTable, disposeCompensationTable } from '../compensation.js';
import type { CompensationRequest } from '../compensation-request.js';
import { randomNormals } from '../random.js';
import type { SparsityEstimator } from '../types.js';
import { cachedCompensation } from './cached-compensation.js';

let dir: string;
beforeEach(async () => {
  await useBackend('cpu');
  dir = await mkdtemp(join(tmpdir(), 'spft-maps-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

/** Keeps the first channels, the fewer the sparser. */
const first: SparsityEstimator = {
  ...{ mode: 'first', needs: 'input', applies: 'gather' },
  selectMlp({ channels, sparsity }) {
    const kept = Math.floor(channels * (1 - sparsity));
    return { indices: tf.range(0, kept, 1, 'int32') as tf.Tensor1D, kept, total: channels };
  },
  selectAttention: () => ({ q: null, k: null, v: null, o: null }),
  dispose() {},
};

/** Rows of noise through whatever layers are asked for; counts passes. */
function dataOf(host: FakeHost, name: string | undefined): CalibrationData & { passes: number } {
  const data = {
    ...{ steps: 1, passes: 0, ...(name !== undefined && { data: name }) },
    forward() {
      data.passes++;
      tf.tidy(() => {
        const layout = packTokens({ lengths: [60], dense: () => false });
        for (const layer of host.plan!.layers.keys()) {
          const input = tf.tensor2d(randomNormals(60 * 12, layer), [60, 12]);
          const activations = tf.tensor2d(randomNormals(60 * 20, 9 + layer), [60, 20]);
          const downWeight = tf.transpose(host.frozenWeight(`model.layers.${layer}.mlp.up_proj`)) as tf.Tensor2D;
          const more = { activations, downWeight, channels: 20 };
          host.plan!.estimator.selectMlp({ layer, sparsity: 0.5, input, layout, seed: 0, ...more });
        }
      });
    },
  };
  return data;
}

/** A host whose down_proj is known from the start, so that none appears while tensors are counted. */
function hostOf(): FakeHost {
  const host = fakeHost();
  const frozenWeight = host.frozenWeight.bind(host);
  return Object.assign(host, {
    frozenWeight: (name: string) => frozenWeight(name.replace('down_proj', 'up_proj')),
  });
}

const wanted = (levels: Record<number, readonly number[]>) =>
  new Map(Object.entries(levels).map(([layer, of]) => [Number(layer), of]));

const valuesOf = (table: CompensationTable) =>
  [...table].map(([level, maps]) => [
    level,
    [...maps].map(([layer, { down, up, bias }]) => [layer, ...[down, up, bias].map((part) => part.dataSync())]),
  ]);

describe('cachedCompensation()', () => {
  /** Asks twice, so that what is fitted the first time is found the second. */
  async function ask(more: Partial<CompensationRequest> & { readonly place?: string; readonly name?: string | null }) {
    const host = hostOf();
    const { place = dir, name = 'rows', ...rest } = more;
    const data = dataOf(host, name ?? undefined);
    const notices: string[] = [];
    const source = cachedCompensation(
      ({ rank, choice }) => join(place, `r_${rank}-${choice}`),
      (notice) => notices.push(notice),
    );
    const seen: ReturnType<typeof valuesOf>[] = [];
    await expectNoLeak(async () => {
      const request = { host, chooser: { estimator: first, compat: 'corrected' as const }, rank: 3, choice: 'a', data };
      const table = await source({ ...request, wanted: wanted({ 0: [0.5, 0.75], 2: [0.75] }), ...rest });
      seen.push(valuesOf(table));
      disposeCompensationTable(table);
    });
    expect(seen[1]).toEqual(seen[0]);
    return { values: seen[1]!, notices, passes: data.passes };
  }

  it('fits once, then finds the same numbers; what is new is added to what is there', async () => {
    const made = await ask({});
    expect(made).toMatchObject({ passes: 1, notices: [] });
    expect(await readdir(join(dir, 'r_3-a'))).toEqual(['mlp-0.5.safetensors', 'mlp-0.75.safetensors']);
    expect(await ask({})).toEqual({ ...made, passes: 0 });
    const more = await ask({ wanted: wanted({ 0: [0.75], 1: [0.75] }) });
    expect(more.passes).toBe(1);
    // Layer 1 came, and those that were there before have stayed.
    const all = await ask({ wanted: wanted({ 0: [0.5, 0.75], 1: [0.75], 2: [0.75] }) });
    expect(all).toMatchObject({ passes: 0, notices: [] });
    const at = (level: number, layer: number, { values }: typeof made) =>
      (values.find(([of]) => of === level)![1] as unknown[][]).find(([of]) => of === layer);
    expect(at(0.75, 2, all)).toEqual(at(0.75, 2, made));
    expect(at(0.75, 1, all)).toEqual(at(0.75, 1, more));
  });

  it('fits anew for another rank or choice, and keeps nothing of data without a name', async () => {
    await ask({});
    expect((await ask({ rank: 2 })).passes).toBe(1);
    expect((await ask({ choice: 'b' })).passes).toBe(1);
    expect((await ask({ place: join(dir, 'unnamed'), name: null })).passes).toBe(2);
    expect(existsSync(join(dir, 'unnamed'))).toBe(false);
  });

  it('fits anew, and says so, what is damaged or was fitted to something else', async () => {
    const made = await ask({});
    await writeFile(join(dir, 'r_3-a', 'mlp-0.5.safetensors'), 'no tensors');
    const mended = await ask({});
    expect(mended.values).toEqual(made.values);
    expect(mended.notices).toHaveLength(1);
    expect(mended.notices[0]).toContain('are fitted anew: ');
    expect(await ask({})).toEqual({ ...made, passes: 0 });
    // Under the same name, as a place that forgets the data would have it.
    const others = await ask({ name: 'other rows' });
    expect(others.passes).toBe(1);
    expect(others.notices[0]).toContain('maps of data other rows were wanted, found rows');
  });

  it.skipIf(process.getuid?.() === 0)('goes on where it cannot write, and says so', async () => {
    await chmod(dir, 0o500);
    const { passes, notices } = await ask({});
    expect(passes).toBe(2);
    expect(notices[0]).toContain('are not kept for the next run');
  });

  it('goes on where a file is in the way', async () => {
    await writeFile(join(dir, 'r_3-a'), '');
    const { passes, notices } = await ask({});
    expect([passes, notices.length]).toEqual([2, 2]);
    expect(notices[0]).toContain('are not kept for the next run');
  });
});
