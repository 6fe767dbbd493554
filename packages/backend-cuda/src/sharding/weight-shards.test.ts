/** @file Frozen matrices in shards on the emulator's NCCL: every rank reads the whole ones' values, whatever the order, the host runs ahead or not. */
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { cuda, describeCuda, emulated } from '../../test/cuda.js';
import { bundleProgram, resultsOf, runRanks } from '../../test/ranks/run-ranks.js';
import { shardBytes } from './shard-bytes.js';

let program = '';

interface Result {
  readonly wrong: readonly string[];
  readonly held: number;
  readonly gathered: number;
  readonly exposed: number;
  readonly ahead: number;
  readonly own: number;
  readonly short: string;
  readonly leaked: object;
}

describe('shardBytes()', () => {
  it('divides bytes in units of 256, so that all ranks together have room for all', () => {
    for (const [bytes, size] of [
      [1, 1],
      [256, 2],
      [257, 2],
      [100_000, 7],
      [0, 3],
    ] as const) {
      const each = shardBytes(bytes, size);
      expect(each % 256).toBe(0);
      expect(each * size).toBeGreaterThanOrEqual(bytes);
      expect(each * size - bytes).toBeLessThan(256 * size + 256);
    }
  });
});

describeCuda('weights in shards', () => {
  beforeAll(async () => {
    program = await bundleProgram(fileURLToPath(new URL('../../test/ranks/program.ts', import.meta.url)), 'shards');
  });

  it.runIf(emulated).each([
    [3, 2, 'late'],
    [2, 3, 'early'],
    [2, 2, 'early'],
  ])('are whole where they are used: %i ranks, %i buffers, work at once or later (%s)', async (size, buffers, mode) => {
    const env = { BUFFERS: String(buffers), SPFT_EMULATOR_ASYNC: mode };
    const results = resultsOf(await runRanks<Result>(program, 'shards', size, { env }));
    const matrices = [48 * 32, 33 * 7].map((count) => 2 * count);
    const layer = matrices.reduce((sum, bytes) => sum + shardBytes(bytes, size), 0);
    for (const [rank, result] of results.entries()) {
      expect(result.wrong).toEqual([]);
      // Before the first use: the shards alone.
      expect(result.held).toBe(5 * layer);
      expect(result.gathered).toBe(5 * layer + buffers * size * layer);
      // Of two steps forward and backward over five layers only the very first layer was waited for.
      expect(result.exposed).toBe(1);
      expect(result.ahead).toBeLessThanOrEqual(2 * (2 * 5 - 1));
      const each = shardBytes(2 * 777, size);
      expect(result.own).toBe(Math.min(1554, (rank + 1) * each) - Math.min(1554, rank * each));
      expect(result.short).toContain(`rank ${rank} of ${size} has ${result.own} bytes of [111,7] in BF16`);
      expect(result.leaked).toEqual({ tensors: 0, bytes: 0 });
    }
  });

  it.runIf(emulated).each(['late', 'early'])('are the same in every form, scales and all (%s)', async (mode) => {
    const env = { SPFT_EMULATOR_ASYNC: mode };
    for (const result of resultsOf(
      await runRanks<{ different: unknown; leaked: unknown }>(program, 'forms', 2, { env }),
    )) {
      expect(result).toEqual({ different: [], leaked: { tensors: 0, bytes: 0 } });
    }
  });

  it.runIf(emulated).each(['late', 'early'])(
    'are gathered within recorded steps, and as well where those are given up (%s)',
    async (mode) => {
      interface Recorded {
        wrong: string[];
        replayed: number;
        thrown: string[];
        messages: string[];
      }
      const env = { SPFT_EMULATOR_ASYNC: mode, SPFT_EMULATOR_QUIET: '1' };
      for (const result of resultsOf(await runRanks<Recorded>(program, 'recording', 2, { env }))) {
        expect(result.wrong).toEqual([]);
        expect(result.replayed).toBeGreaterThan(1);
        expect(result.thrown).toEqual(['in the middle']);
        expect(result.messages.join()).toContain('it depends on something that is no input of it');
      }
    },
  );

  it('need the ranks to be connected, and two buffers', async () => {
    expect(() => cuda().shardWeights()).toThrow('ranks are not connected; call connect first');
  });
});
