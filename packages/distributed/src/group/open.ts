/** @file The group of a run: which launcher started it, what carries its values, and where its ranks are. */
import { hostname } from 'node:os';
import type { Collective, ProcessGroup, TensorCollective } from '../collective/collective.js';
import { HostTensors } from '../collective/host-tensors.js';
import { DistributedError } from '../errors.js';
import { detectLaunch, LAUNCHER_NAMES, type Launch } from '../launcher/launch.js';
import { type Environment, readNumber } from '../launcher/variables.js';
import type { Peer } from '../tcp/handshake.js';
import { ThreadCollective } from '../thread/collective.js';

/** Added to MASTER_PORT, which is torchrun's own. */
const PORT_OFFSET = 1000;
/** Seconds in which all ranks have to come, and from a rank's end to that of all. */
const PATIENCE = 600;
const GRACE = 20;

export interface OpenedGroup extends ProcessGroup {
  readonly launch: Launch;
  /** All ranks, by number. */
  readonly peers: readonly Peer[];
  /** Launcher and what carries the values, in words. */
  readonly description: string;
  readonly host: Collective;
  /** What ended the group, once it has ended. */
  readonly error: DistributedError | null;
  /** Whether this rank is the one to say what ended the group: that a rank is gone is said already. */
  readonly speaks: boolean;
  /** @param listener is told once, when a rank has failed or is gone. */
  onEnd(listener: (error: DistributedError) => void): void;
  /** Sums tensors by `tensors` from now on, which the group closes in the end. */
  useTensors(tensors: TensorCollective): void;
}

/**
 * Meets the other ranks.
 * @param env of the process: the launcher's variables, and `SPFT_COLLECTIVE` (mpi or tcp), `SPFT_PORT`, `SPFT_TOKEN`, `SPFT_MPI`, `SPFT_PATIENCE` (seconds).
 * @returns null where this process is alone; owned by the caller.
 * @throws DistributedError where they do not meet.
 */
export async function openProcessGroup(env: Environment): Promise<OpenedGroup | null> {
  const launch = detectLaunch(env);
  if (launch === null) return null;
  const carrier = carrierOf(env, launch);
  const host = await ThreadCollective.open({
    ...{ launch, carrier, host: hostname() },
    port:
      readNumber(env, 'SPFT_PORT', { from: 1, to: 65_535 }) ?? (carrier === 'mpi' ? 0 : portBeside(launch.masterPort!)),
    patience: 1000 * (readNumber(env, 'SPFT_PATIENCE', { from: 1 }) ?? PATIENCE),
    grace: 1000 * GRACE,
  });
  const localRanks = host.peers.filter((peer) => peer.host === host.peers[launch.rank]!.host).map(({ rank }) => rank);
  let tensors: TensorCollective = new HostTensors(host);
  return {
    ...{ launch, host, rank: launch.rank, size: launch.size, peers: host.peers },
    ...{ localRank: localRanks.indexOf(launch.rank), localSize: localRanks.length },
    description: `${LAUNCHER_NAMES[launch.launcher]}, on ${host.carriedBy}`,
    get tensors() {
      return tensors;
    },
    get error() {
      return host.error;
    },
    get speaks() {
      return host.speaks;
    },
    useTensors(better) {
      tensors = better;
    },
    onEnd: (listener) => host.onEnd(listener),
    abort(error) {
      tensors.abort(error);
      host.abort(error);
    },
    async close() {
      await tensors.close();
      await host.close();
    },
  };
}

const portBeside = (port: number): number => (port + PORT_OFFSET <= 65_535 ? port + PORT_OFFSET : port - PORT_OFFSET);

/** MPI where the launcher is one of MPI, else TCP; by name otherwise. */
function carrierOf(env: Environment, { launcher, masterAddr }: Launch): 'mpi' | 'tcp' {
  const asked = env.SPFT_COLLECTIVE || null;
  if (asked !== null && asked !== 'mpi' && asked !== 'tcp') {
    throw new DistributedError('launcher', `SPFT_COLLECTIVE: wanted mpi or tcp, found ${JSON.stringify(asked)}`);
  }
  const carrier = asked ?? (launcher === 'openmpi' || launcher === 'mpich' ? 'mpi' : 'tcp');
  if (carrier === 'tcp' && masterAddr === null) {
    throw new DistributedError(
      'launcher',
      `SPFT_COLLECTIVE is tcp, but nothing says where the ranks are to meet, as ${LAUNCHER_NAMES[launcher]} does not: set MASTER_ADDR and MASTER_PORT`,
    );
  }
  return carrier;
}
