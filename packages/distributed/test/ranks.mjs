/**
 * A rank of a test: meets the others, and does what its first argument says. Prints what comes of it as a line of JSON.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { openProcessGroup } from '../dist/index.js';

const [what, ...rest] = process.argv.slice(2);
let group;
try {
  group = await openProcessGroup(process.env);
  const { host, rank, size, localRank, localSize, description } = group;
  const say = (result) => process.stdout.write(`${JSON.stringify({ rank, ...result })}\n`);
  const tasks = {
    async operations() {
      const sums = [];
      for (const length of [1, 3, 1000, 300_001]) {
        for (const Type of [Float32Array, Float64Array]) {
          // In an order that matters to the last bits.
          const values = Type.from({ length }, (_, n) => Math.sin(n * size + rank) * 10 ** (rank * 3 - 3));
          const expected = Type.from({ length }, (_, n) => {
            const sum = new Type(1);
            for (let r = 0; r < size; r++) sum[0] += Type.of(Math.sin(n * size + r) * 10 ** (r * 3 - 3))[0];
            return sum[0];
          });
          const handle = host.allReduce(values);
          if (length === 1000) handle.wait();
          else await handle.done;
          sums.push(values.every((value, n) => Object.is(value, expected[n])));
        }
      }
      const gathered = host.allGather(new Uint8Array(rank * 40_000).fill(rank + 1)).wait();
      const told = await host.broadcast(rank === size - 1 ? Buffer.from('hello') : null, size - 1).done;
      // Several at once, in order.
      const many = Array.from({ length: 20 }, (_, n) => Float32Array.of(n + rank));
      await Promise.all(many.map((values) => host.allReduce(values).done));
      await host.barrier().done;
      say({
        ...{ sums, localRank, localSize, description },
        gathered: gathered.map((part, r) => part.length === r * 40_000 && part.every((byte) => byte === r + 1)),
        told: Buffer.from(told).toString(),
        many: many.map((values) => values[0]),
      });
      await group.close();
    },
    /** Sums until somebody dies. */
    async forever() {
      say({ pid: process.pid });
      group.onEnd(() => {});
      for (;;) await host.allReduce(new Float32Array(100_000)).done;
    },
    /** Computes without looking up, once the others wait. */
    async busy() {
      say({ pid: process.pid });
      await host.barrier().done;
      for (;;) if (rank === size - 1) await sleep(1000);
    },
    async fail() {
      if (rank === Number(rest[0])) throw new Error('the disk is full');
      await host.barrier().done;
    },
    async mismatch() {
      await (rank === 0 ? host.barrier() : host.allGather(new Uint8Array(2))).done;
    },
  };
  await tasks[what]();
} catch (error) {
  if (group) {
    group.abort(error);
    if (group.speaks) process.stderr.write(`error: ${group.error.message}\n`);
    await group.close();
  } else process.stderr.write(`error: ${error.message}\n`);
  process.exitCode = 1;
}
