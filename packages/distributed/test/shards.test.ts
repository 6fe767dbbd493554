/** @file Ranks that hold a part of the base each, on blas: training is that with a whole base, to the bit, over MPI and over TCP. */
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { orRequired } from '../../../test/support/required.js';
import { freePort, hasMpirun, isBuilt, MPIRUN, type Started, start, torchrunVariables } from './launch-ranks.js';

const script = fileURLToPath(new URL('./shards.mjs', import.meta.url));
const noMpi = orRequired('mpi', hasMpirun ? null : 'there is no mpirun of Open MPI');

interface Said {
  readonly rank: number;
  readonly losses: readonly number[];
  readonly sharded: readonly number[];
  readonly sameAdapters: boolean;
  readonly sameIdentity: boolean;
  readonly read: readonly [whole: number, sharded: number];
  readonly leaked: readonly number[];
  readonly exposed: number;
  readonly ahead: number;
}

async function check(started: readonly Started[], size: number): Promise<void> {
  const ended = await Promise.all(started.map((each) => each.ended));
  const text = ended.map(({ stdout }) => stdout).join('');
  const said = text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Said);
  expect(ended.map(({ code, stderr }) => [code, stderr])).toEqual(ended.map(() => [0, '']));
  expect(said.map(({ rank }) => rank).sort()).toEqual(Array.from({ length: size }, (_, rank) => rank));
  for (const { losses, sharded, sameAdapters, sameIdentity, read, leaked, exposed, ahead } of said) {
    expect(losses).toHaveLength(6);
    expect(sharded).toEqual(losses);
    expect({ sameAdapters, sameIdentity, leaked }).toEqual({ sameAdapters: true, sameIdentity: true, leaked: [0, 0] });
    // Embedding, head and norms whole; of the rest a part.
    expect(read[1]).toBeLessThan((1 / size + 0.1) * read[0]);
    expect(ahead).toBeGreaterThan(5 * exposed);
  }
}

describe.skipIf(!isBuilt)('a base in parts on blas (needs npm run build)', () => {
  it.skipIf(noMpi)(
    `trains as a whole one under mpirun, SparseLoRA on two ranks${noMpi ? ` (${noMpi})` : ''}`,
    async () => {
      await check([start([...MPIRUN, '-n', '2', process.execPath, script, 'true', 'false'])], 2);
    },
  );

  it('trains as a whole one over TCP, with gradient checkpointing, on three ranks that share unevenly', async () => {
    const env = { SPFT_PORT: String(await freePort()) };
    const ranks = Array.from({ length: 3 }, (_, rank) =>
      start([process.execPath, script, 'false', 'true'], { ...torchrunVariables(rank, 3, 29_500), ...env }),
    );
    await check(ranks, 3);
  });
});
