import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../../../test/support/backends.js';
import { llamaConfigJson, parseLlamaConfig } from './llama-config.js';
import { RopeCache } from './rope-cache.js';

interface Recorded {
  readonly name: string;
  readonly config: Record<string, unknown>;
  readonly rows: { positions: number[]; cos: number[][]; sin: number[][] }[];
}
const recorded = JSON.parse(readFileSync(new URL('../fixtures/rope.json', import.meta.url), 'utf8')) as Recorded[];

/** Largest difference, in shares of a value of 1. */
const distance = (a: ArrayLike<number>, b: readonly number[]) =>
  b.reduce((most, value, n) => Math.max(most, Math.abs(a[n]! - value)), a.length === b.length ? 0 : Number.NaN);

describe('RoPE of a config, against transformers', () => {
  beforeAll(() => useBackend('cpu'));

  it.each(recorded.map((r) => [r.name, r] as const))('%s', async (_, { config, rows }) => {
    const parsed = parseLlamaConfig(config);
    const { headDim, ropeTheta: theta, ropeScaling: scaling } = parsed;
    for (const { positions, cos, sin } of rows) {
      const cache = new RopeCache({ headDim, theta, scaling });
      const tables = cache.rows(Int32Array.from(positions));
      // An angle of 6,001 rad in float32 is known to 2.4e-4.
      const near = 1e-6 + 1.2e-7 * Math.max(...positions);
      expect(distance(await tables.cos.data(), cos.flat())).toBeLessThan(near);
      expect(distance(await tables.sin.data(), sin.flat())).toBeLessThan(near);
    }
  });

  it.each(recorded.map((r) => [r.name, r] as const))('is the same from what we write: %s', (_, { config }) => {
    const parsed = parseLlamaConfig(config);
    const again = parseLlamaConfig(llamaConfigJson(parsed));
    expect([again.ropeTheta, again.ropeScaling]).toEqual([parsed.ropeTheta, parsed.ropeScaling]);
  });

  it('takes the frequencies of short sequences again after a long one', async () => {
    const scaling = { ropeType: 'dynamic', factor: 2, maxPositionEmbeddings: 64 } as const;
    const cache = new RopeCache({ headDim: 8, theta: 1e4, scaling });
    const of = async (...positions: number[]) => Array.from(await cache.rows(Int32Array.from(positions)).cos.data());
    const short = await of(3);
    const long = await of(3, 200);
    expect(long.slice(0, 4)).not.toEqual(short);
    expect(await of(3)).toEqual(short);
  });
});
