/** @file Ranks on the emulator's NCCL, each a process: what collectives give, and what ranks that do not fit each other are told. */
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, it, vi } from 'vitest';
import { cuda, describeCuda, emulated } from '../../test/cuda.js';
import { bundleProgram, resultsOf, runRanks } from '../../test/ranks/run-ranks.js';
import { bindNccl } from '../libraries/nccl.js';
import { loadNccl, uniqueId } from './communicator.js';

let program = '';
const run = <T>(what: string, size: number, env: Record<string, string> = {}) =>
  runRanks<T>(program, what, size, { env });

describeCuda('a communicator of several ranks', () => {
  beforeAll(async () => {
    program = await bundleProgram(fileURLToPath(new URL('../../test/ranks/program.ts', import.meta.url)), 'ranks');
  });

  it.runIf(emulated).each([
    [2, '0'],
    [3, 'late'],
    [2, 'early'],
  ])(
    'sums, gathers, broadcasts and scatters between %i ranks, with work done at once or later (%s)',
    async (size, mode) => {
      type Result = { checks: Record<string, boolean>; version: string };
      for (const { checks } of resultsOf(await run<Result>('collectives', size, { SPFT_EMULATOR_ASYNC: mode }))) {
        expect(checks).toEqual(Object.fromEntries(Object.keys(checks).map((name) => [name, true])));
      }
    },
  );

  it.runIf(emulated).each(['late', 'early'])(
    'sums tensors in place where nobody else has their memory (%s)',
    async (mode) => {
      interface Result {
        values: number[][];
        inPlace: boolean;
        leaked: object;
        refused: string;
        shapes: number[][];
      }
      const [first, second] = resultsOf(await run<Result>('sums', 2, { SPFT_EMULATOR_ASYNC: mode }));
      const of = (count: number, rank: number) =>
        Array.from({ length: count }, (_, i) => ((i * 7 + rank * 3) % 17) - 8);
      const sum = (count: number) => of(count, 0).map((value, i) => value + of(count, 1)[i]!);
      for (const [rank, { values, inPlace, leaked, refused, shapes }] of [first!, second!].entries()) {
        expect(values).toEqual([
          ...[sum(500), sum(40), sum(64).slice(16, 48), sum(33), [], [3]],
          ...[of(40, rank), of(64, rank), [1, 4, 9], sum(500).map((value) => value + 1)],
          sum(50),
        ]);
        expect(shapes).toEqual([[500], [40], [8, 4], [33], [0, 3], []]);
        expect(inPlace).toBe(true);
        expect(leaked).toEqual({ tensors: 0, bytes: 0 });
        expect(refused).toBe('sums over ranks are of float32, got int32');
      }
    },
  );

  it.runIf(emulated)('says which ranks do not fit, is of no use afterwards, and can be made anew', async () => {
    type Result = Record<'mismatch' | 'afterwards' | 'outside' | 'connected' | 'late', string>;
    const results = resultsOf(await run<Result>('mistakes', 2, { SPFT_EMULATOR_QUIET: '1' }));
    for (const [rank, result] of results.entries()) {
      expect(result.mismatch).toBe(`SPFT_NCCL: ncclGroupEnd: invalid usage (rank ${rank} of 2)`);
      expect(result.afterwards).toContain('SPFT_NCCL: launch: the ranks are no longer connected');
      expect(result.outside).toContain('internal: all-reduce outside of a launch');
      expect(result.connected).toContain('ranks are connected; close the communicator before');
    }
    expect(results[0]!.late).toBe(
      'SPFT_NCCL: ncclCommInitRankConfig: rank 0 of 2 waited 0.3 s for the others; did all of them start, and none end?',
    );
  });

  it.runIf(emulated)('refuses two ranks on one GPU', async () => {
    const results = resultsOf(
      await run<{ thrown: string }>('duplicate', 2, { SPFT_CUDA_DEVICE: '0', SPFT_EMULATOR_QUIET: '1' }),
    );
    for (const { thrown } of results) expect(thrown).toMatch(/^SPFT_NCCL: ncclCommInitRankConfig: invalid usage/);
  });

  it.runIf(emulated)('ends the wait for a rank that was killed', async () => {
    const [first, second] = await run<{ message: string; seconds: number }>('killed', 2, { SPFT_EMULATOR_QUIET: '1' });
    expect(second!.code).toBe(null);
    expect(first!.code, first!.stderr).toBe(0);
    expect(first!.result!.message).toContain('SPFT_NCCL');
    expect(first!.result!.message).toContain('remote process exited');
    expect(first!.result!.seconds).toBeLessThan(20);
  });

  it.runIf(emulated)('lets a process end whose GPU waits for a rank that is gone', async () => {
    // As on NVLink, where such a kernel never ends, and the driver waits for it when the process does.
    const env = { SPFT_EMULATOR_NCCL_HANGS: '1', SPFT_EMULATOR_ASYNC: 'late', SPFT_EMULATOR_QUIET: '1' };
    const began = performance.now();
    const [first] = await run<{ message: string; seconds: number }>('lost', 2, env);
    expect(first!.code, first!.stderr).toBe(3);
    expect(first!.result!.message).toBe('undefined: rank 1 is gone');
    expect(first!.result!.seconds).toBeLessThan(5);
    expect(performance.now() - began).toBeLessThan(40_000);
  });

  it.runIf(emulated)('refuses collectives in one launch that touch what another of them writes', async () => {
    for (const { together } of resultsOf(
      await run<{ together: string }>('mistakes', 2, { SPFT_EMULATOR_QUIET: '1' }),
    )) {
      expect(together).toContain('SPFT_NCCL: ncclGroupEnd: invalid usage');
    }
  });

  it('is alone with itself', async () => {
    const communicator = await cuda().connect({ id: uniqueId(), rank: 0, size: 1 });
    expect(communicator.isOpen).toBe(true);
    communicator.close();
    expect(communicator.isOpen).toBe(false);
    expect(() => communicator.launch(() => {})).toThrow('the ranks are no longer connected');
    await expect(cuda().connect({ id: new Uint8Array(3), rank: 0, size: 1 })).rejects.toThrow(
      'connect: the id has 3 bytes, wanted 128',
    );
  });

  it.runIf(emulated)('is refused by an NCCL that is too old', () => {
    vi.stubEnv('SPFT_EMULATOR_NCCL_VERSION', '21704');
    try {
      expect(() => bindNccl(loadNccl().path)).toThrow(/NCCL at .* is 2\.17\.4; 2\.18 or newer is needed/);
    } finally {
      vi.unstubAllEnvs();
    }
  });
});
