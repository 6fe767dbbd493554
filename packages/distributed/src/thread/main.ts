/**
 * @file The thread of the collective: it meets the other ranks, carries out the operations one after the other, and watches whether the ranks live, while
 * the caller's thread computes, be it for minutes in one call. Where a rank is gone and the caller's thread does not come to know, this one ends
 * the process.
 */
import { randomBytes } from 'node:crypto';
import { writeSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { isatty } from 'node:tty';
import { type TransferListItem, workerData } from 'node:worker_threads';
import type { Operation, Part, Result } from '../collective/room.js';
import { DistributedError } from '../errors.js';
import { MpiExchange } from '../mpi/exchange.js';
import { loadMpi, type Mpi } from '../mpi/library.js';
import type { Peer } from '../tcp/handshake.js';
import { Door } from '../tcp/rendezvous.js';
import { Star } from '../tcp/star.js';
import { type FromThread, type PlainError, speakerOf, type ThreadSetup, type ToThread } from './protocol.js';

const setup = workerData as ThreadSetup;
const { launch, host, port2: port, patience, grace } = setup;
const counter = new Int32Array(setup.counter);
const me: Peer = { rank: launch.rank, host, pid: process.pid, localRank: launch.localRank };

function post(message: FromThread, transfer: TransferListItem[] = []): void {
  port.postMessage(message, transfer);
  Atomics.add(counter, 0, 1);
  Atomics.notify(counter, 0);
}

const plain = (error: unknown): PlainError => ({
  reason: error instanceof DistributedError ? error.reason : 'mismatch',
  message: (error as Error).message,
});

interface Ranks {
  readonly star: Star;
  readonly carriedBy: string;
  call(operation: Operation, part: Part): Promise<Result>;
  abort(error: Error): void;
  finish(): void;
}

async function meetByTcp(): Promise<Ranks> {
  const membership = { size: launch.size, runId: launch.runId, token: launch.token };
  const address = launch.masterAddr!;
  const star =
    launch.rank === 0
      ? await Star.receive(
          await Door.open(address, setup.port, launch.localSize === launch.size),
          me,
          membership,
          patience,
        )
      : await Star.join({ ...membership, addresses: [address], port: setup.port, patience }, me);
  return {
    ...{ star, carriedBy: `TCP at ${address}:${setup.port}` },
    call: (operation, part) => star.call(operation, part),
    abort() {},
    finish() {},
  };
}

/** MPI tells where the ranks meet beside it, and gives them a token that nobody else knows. */
async function meetByMpi(): Promise<Ranks> {
  const mpi = loadMpi(
    process.env,
    launch.launcher === 'openmpi' || launch.launcher === 'mpich' ? launch.launcher : null,
  );
  const found = mpi.init();
  if (found.size !== launch.size || found.rank !== launch.rank) {
    throw new DistributedError(
      'library',
      `the launcher says rank ${launch.rank} of ${launch.size}, ${mpi.version} (${mpi.path}) rank ${found.rank} of ${found.size}: it is not the MPI of this launcher; set SPFT_MPI to the path of that one's libmpi`,
    );
  }
  const exchange = new MpiExchange(mpi, found);
  const star = await starBeside(exchange);
  return {
    ...{ star, carriedBy: `${mpi.version} (${mpi.path})` },
    call: (operation, part) => exchange.call(operation, part),
    abort: (error) => exchange.abort(error),
    finish: () => leave(mpi),
  };
}

function leave(mpi: Mpi): void {
  mpi.finalize();
}

async function starBeside(exchange: MpiExchange): Promise<Star> {
  const hosts = (await exchange.call('allGather', Buffer.from(host))) as Uint8Array[];
  const alone = hosts.every((other) => Buffer.from(other).toString() === host);
  if (launch.rank === 0) {
    const door = await Door.open(alone ? '127.0.0.1' : null, setup.port, alone);
    const addresses = alone ? ['127.0.0.1'] : [...ownAddresses(), host];
    const token = randomBytes(32).toString('hex');
    const place = { addresses, port: door.port, token, runId: launch.runId, size: launch.size };
    await exchange.call('broadcast 0', Buffer.from(JSON.stringify(place)));
    return Star.receive(door, me, place, patience);
  }
  const told = Buffer.from((await exchange.call('broadcast 0', null)) as Uint8Array).toString();
  return Star.join({ ...JSON.parse(told), patience }, me);
}

const ownAddresses = (): string[] =>
  Object.values(networkInterfaces()).flatMap((all) =>
    (all ?? []).filter(({ internal, scopeid }) => !internal && !scopeid).map(({ address }) => address),
  );

/**
 * The end is told to the caller, and its time runs: who does not hear of it ends with the process. That a rank is gone is said here and at once, as the
 * launcher may be about to end the others too.
 */
function end(error: DistributedError, lost: number | undefined): void {
  const speaks = launch.rank === speakerOf(lost);
  const said = speaks && error.reason === 'lost';
  if (said) say(error);
  post({ kind: 'end', said, error: { reason: error.reason, message: error.message, lost } });
  const kill = () => {
    if (!heard && speaks && !said) say(error);
    process.kill(process.pid, 'SIGKILL');
  };
  setTimeout(() => heard || kill(), grace / 2);
  setTimeout(kill, grace);
}

function say({ message }: DistributedError): void {
  try {
    // A progress bar may stand in the terminal's line.
    writeSync(2, `${isatty(2) ? '\n' : ''}error: ${message}\n`);
  } catch {
    // Nobody reads it.
  }
}

let heard = false;
let ranks: Ranks;
try {
  ranks = await (setup.carrier === 'mpi' ? meetByMpi() : meetByTcp());
} catch (error) {
  post({ kind: 'refused', error: plain(error) });
  // The caller ends this thread.
  await new Promise(() => {});
  throw error;
}
const { star } = ranks;
let ended = false;
star.onEnd((error, lost) => {
  ended = true;
  ranks.abort(error);
  end(error, lost);
});
post({ kind: 'ready', peers: star.peers, carriedBy: ranks.carriedBy });

let last: Promise<unknown> = Promise.resolve();
port.on('message', (message: ToThread) => {
  switch (message.kind) {
    case 'call': {
      const { id, operation, part } = message;
      // MPI wants one after the other; the star keeps the order by itself.
      last = last
        .then(() => ranks.call(operation, part))
        .then(
          (result) =>
            post({ kind: 'result', id, result }, ArrayBuffer.isView(result) ? [result.buffer as ArrayBuffer] : []),
          (error) => post({ kind: 'error', id, error: plain(error) }),
        );
      return;
    }
    case 'heard':
      heard = true;
      return;
    case 'fail':
      void star.fail(message.message).then(() => post({ kind: 'closed' }));
      return;
    default:
      void last
        .then(() => star.close())
        .then(() => {
          if (!ended) ranks.finish();
          post({ kind: 'closed' });
        });
  }
});
