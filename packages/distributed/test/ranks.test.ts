import { afterEach, describe, expect, it } from 'vitest';
import { orRequired } from '../../../test/support/required.js';
import { byTcp, type Ended, endAll, hasMpirun, isBuilt, mpirun } from './launch-ranks.js';

afterEach(endAll);

interface Said {
  readonly rank: number;
  readonly sums: boolean[];
  readonly gathered: boolean[];
  readonly told: string;
  readonly many: number[];
  readonly localSize: number;
  readonly description: string;
  readonly pid: number;
}

const linesOf = (text: string): Said[] =>
  text
    .trim()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Said)
    .sort((a, b) => a.rank - b.rank);

function checkOperations(said: readonly Said[], size: number, description: RegExp): void {
  expect(said.map(({ rank }) => rank)).toEqual(Array.from({ length: size }, (_, rank) => rank));
  for (const one of said) {
    expect(one.sums).toEqual(Array(8).fill(true));
    expect(one.gathered).toEqual(Array(size).fill(true));
    expect(one.told).toBe('hello');
    expect(one.many).toEqual(Array.from({ length: 20 }, (_, n) => n * size + (size * (size - 1)) / 2));
    expect(one.localSize).toBe(size);
    expect(one.description).toMatch(description);
  }
}

/** Lines of errors of ours. */
const errorsOf = (text: string): string[] => text.split('\n').filter((line) => line.startsWith('error:'));
const allOf = (ended: readonly Ended[]): string => ended.map(({ stderr }) => stderr).join('');

describe.skipIf(!isBuilt)('ranks by TCP, with torchrun’s variables (needs npm run build)', () => {
  it('sum, gather and broadcast as the plain collective does', async () => {
    const ended = await Promise.all((await byTcp(3, ['operations'])).map((rank) => rank.ended));
    expect(ended.map(({ code, stderr }) => [code, stderr])).toEqual(Array(3).fill([0, '']));
    checkOperations(linesOf(ended.map(({ stdout }) => stdout).join('')), 3, /^torchrun, on TCP at 127\.0\.0\.1:\d+$/);
  });

  it.each([0, 1, 2])('end at once, with one message that names rank %i, when it is killed', async (victim) => {
    const ranks = await byTcp(3, ['forever']);
    await Promise.all(ranks.map((rank) => rank.said(/pid/)));
    const began = performance.now();
    ranks[victim]!.child.kill('SIGKILL');
    const ended = await Promise.all(ranks.map((rank) => rank.ended));
    expect(performance.now() - began).toBeLessThan(15_000);
    const errors = errorsOf(allOf(ended));
    expect(errors).toHaveLength(1);
    expect(errors[0]).toContain(`rank ${victim} (process ${ranks[victim]!.child.pid} on `);
    expect(ended.filter((_, rank) => rank !== victim).map(({ code }) => code)).toEqual([1, 1]);
  });

  it('end also where they compute and never look up', async () => {
    const ranks = await byTcp(2, ['busy']);
    await Promise.all(ranks.map((rank) => rank.said(/pid/)));
    await new Promise((resolve) => setTimeout(resolve, 300));
    const began = performance.now();
    ranks[1]!.child.kill('SIGKILL');
    const ended = await Promise.all(ranks.map((rank) => rank.ended));
    expect((performance.now() - began) / 1000).toBeLessThan(30);
    expect(errorsOf(allOf(ended))).toEqual([expect.stringContaining(`rank 1 (process ${ranks[1]!.child.pid} on `)]);
  }, 60_000);

  it.each([0, 1])('say once why rank %i failed', async (victim) => {
    const ended = await Promise.all((await byTcp(3, ['fail', String(victim)])).map((rank) => rank.ended));
    const errors = errorsOf(allOf(ended));
    expect(errors).toHaveLength(1);
    expect(errors[0]).toContain('the disk is full');
    if (victim > 0) expect(errors[0]).toContain(`rank ${victim} (process`);
    expect(ended.map(({ code }) => code)).toEqual([1, 1, 1]);
  });

  it('refuse a variable that means nothing, and MPI where there is no launcher of it', async () => {
    const ended = await Promise.all(
      (await byTcp(2, ['operations'], { SPFT_COLLECTIVE: 'gloo' })).map((rank) => rank.ended),
    );
    expect(allOf(ended)).toContain('SPFT_COLLECTIVE: wanted mpi or tcp, found "gloo"');
  });
});

describe.skipIf(!isBuilt || orRequired('mpi', hasMpirun ? null : 'there is no mpirun of Open MPI') !== null)(
  'ranks by MPI (needs npm run build and mpirun)',
  () => {
    it.each([2, 3])('sum, gather and broadcast as the plain collective does: %i', async (size) => {
      const { code, stdout, stderr } = await mpirun(size, ['operations']).ended;
      expect([code, stderr]).toEqual([0, '']);
      checkOperations(linesOf(stdout), size, /^Open MPI's mpirun, on Open MPI v.* \(.*libmpi.*\)$/);
    });

    it('go by TCP where they are told to, and need an address for it', async () => {
      const env = { SPFT_COLLECTIVE: 'tcp' };
      const without = await mpirun(2, ['operations'], env).ended;
      expect(without.stderr).toContain(
        "SPFT_COLLECTIVE is tcp, but nothing says where the ranks are to meet, as Open MPI's mpirun does not",
      );
    });

    it('end at once, with one message that names the rank, when it is killed', async () => {
      const run = mpirun(3, ['forever']);
      await run.said(/(?:pid[\s\S]*){3}/);
      const victim = linesOf(await run.said(/pid/)).find(({ rank }) => rank === 2)!;
      const began = performance.now();
      process.kill(victim.pid, 'SIGKILL');
      const ended = await run.ended;
      expect((performance.now() - began) / 1000).toBeLessThan(30);
      expect(errorsOf(ended.stderr)).toEqual([expect.stringContaining(`rank 2 (process ${victim.pid} on `)]);
      expect(ended.code).not.toBe(0);
    }, 60_000);

    it('refuse operations that do not fit together, on all ranks', async () => {
      const { code, stderr } = await mpirun(2, ['mismatch']).ended;
      expect(code).not.toBe(0);
      expect(errorsOf(stderr)).toEqual([
        expect.stringMatching(/ranks must call the same operations in the same order/),
      ]);
    });

    it('say where the MPI is not the launcher’s, or none', async () => {
      const { stderr } = await mpirun(2, ['operations'], { SPFT_MPI: '/nowhere/libmpi.so' }).ended;
      expect(stderr).toContain('no MPI can be loaded (/nowhere/libmpi.so: ');
    });
  },
);
