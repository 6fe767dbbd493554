/**
 * @file Two ranks on the emulator that train with a base of which each holds a part, and with a whole one: the same losses and adapters to the bit, by
 * recorded steps with the gathers inside, in whatever form the base is stored. The same runs on GPUs by scripts/device/ranks.sh.
 */
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, it } from 'vitest';
import { describeCuda, emulated } from '../../test/cuda.js';
import { bundleProgram, resultsOf, runRanks } from '../../test/ranks/run-ranks.js';

interface Result {
  readonly losses: readonly number[];
  readonly sharded: readonly number[];
  readonly sameAdapters: boolean;
  readonly sameIdentity: boolean;
  readonly messages: readonly (readonly string[])[];
  readonly read: readonly [whole: number, sharded: number];
  readonly leaked: readonly { readonly tensors: number; readonly bytes: number }[];
  readonly exposed: number;
  readonly ahead: number;
}

let program = '';

describeCuda('training with a base in shards', () => {
  beforeAll(async () => {
    const source = fileURLToPath(new URL('../../test/ranks/training.ts', import.meta.url));
    program = await bundleProgram(source, 'training');
  });

  it.runIf(emulated).each([
    ['LoRA with gradient checkpointing', 'checkpointing', 'late'],
    ['SparseLoRA with accumulation', 'accumulation', 'early'],
    ['SparseLoRA on a base in FP8', 'fp8', 'late'],
  ])('is that with a whole one: %s', { timeout: 300_000 }, async (_, method, mode) => {
    const results = resultsOf(await runRanks<Result>(program, method, 2, { env: { SPFT_EMULATOR_ASYNC: mode } }));
    for (const { losses, sharded, sameAdapters, sameIdentity, messages, read, leaked, exposed, ahead } of results) {
      expect(losses).toHaveLength(12);
      expect(sharded).toEqual(losses);
      expect({ sameAdapters, sameIdentity }).toEqual({ sameAdapters: true, sameIdentity: true });
      expect(sharded).toEqual(results[0]!.sharded);
      // Nothing was said of steps that cannot be recorded.
      expect(messages).toEqual([[], []]);
      expect(leaked.map(({ tensors }) => tensors)).toEqual([0, 0]);
      // What the first products of a kind keep on purpose was there before the second run.
      expect(leaked[1]!.bytes).toBe(0);
      // Embedding, head and norms whole, of the rest a half.
      expect(read[1]).toBeLessThan(0.6 * read[0]);
      expect(ahead).toBeGreaterThan(exposed);
    }
  });
});
