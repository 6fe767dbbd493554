/**
 * @file How ranks find each other: rank 0 listens at the launcher's address until all have come, and no longer; the others knock until it is there.
 */
import { lookup } from 'node:dns/promises';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { DistributedError } from '../errors.js';
import { admit, introduce, type Membership, type Peer } from './handshake.js';
import { Wire } from './wire.js';

export interface MeetingPlace extends Membership {
  /** Names or addresses of rank 0, each of which is tried. */
  readonly addresses: readonly string[];
  readonly port: number;
  /** Milliseconds in which all ranks have to come. */
  readonly patience: number;
}

/** A connection to another rank. */
export interface Link {
  readonly peer: Peer;
  readonly wire: Wire;
}

/** How often a rank knocks, in milliseconds. */
const KNOCKS = 200;

/** Rank 0's door. */
export class Door {
  readonly #server: Server;
  /** The port that it was given, or got. */
  readonly port: number;

  private constructor(server: Server) {
    this.#server = server;
    this.port = (server.address() as { port: number }).port;
  }

  /**
   * @param address is bound where it is one of this host that others can reach; null binds all. @param port 0 for any.
   * @param alone whether all ranks are on this host.
   * @throws DistributedError when the port is in use.
   */
  static async open(address: string | null, port: number, alone: boolean): Promise<Door> {
    const bound = address === null ? undefined : await boundAddress(address, alone);
    const server = createServer();
    for (const host of bound === undefined ? [undefined] : [bound, undefined]) {
      try {
        await listen(server, port, host);
        return new Door(server);
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException;
        // A name of a service, or an address in front of this host: nothing that a process here may bind.
        if (code === 'EADDRNOTAVAIL' && host !== undefined) continue;
        const why = code === 'EADDRINUSE' ? 'is in use' : `cannot be listened at (${message})`;
        throw new DistributedError(
          'rendezvous',
          `port ${port} of ${address ?? 'this host'}, where the ranks are to meet, ${why}: give all ranks a free one as SPFT_PORT, or end what holds it`,
        );
      }
    }
    throw new Error('internal: neither an address nor all of them');
  }

  /** Waits for the other ranks, then closes. @throws DistributedError naming who has not come. */
  async receive(membership: Membership, patience: number): Promise<Link[]> {
    const { size } = membership;
    const links = new Map<number, Link>();
    const strangers: string[] = [];
    const open = new Set<Socket>();
    try {
      await new Promise<void>((resolve, reject) => {
        const missing = () => Array.from({ length: size - 1 }, (_, n) => n + 1).filter((rank) => !links.has(rank));
        const timer = setTimeout(() => {
          const refused =
            strangers.length > 0 ? `; ${strangers.length} were refused, the last: ${strangers.at(-1)}` : '';
          reject(
            new DistributedError(
              'rendezvous',
              `rank ${missing().join(', ')} of ${size} did not come within ${patience / 1000} s${refused}. Look at what these processes say, and whether they can reach port ${this.port} of rank 0's host`,
            ),
          );
        }, patience);
        this.#server.on('connection', (socket) => {
          open.add(socket);
          socket.on('close', () => open.delete(socket));
          const wire = new Wire(socket);
          // Whoever knocks and says nothing keeps nobody waiting.
          const silent = setTimeout(() => socket.destroy(), 20_000);
          admit(wire, membership, (rank) => links.get(rank)?.peer)
            .then((peer) => {
              open.delete(socket);
              links.set(peer.rank, { peer, wire });
              if (missing().length > 0) return;
              clearTimeout(timer);
              resolve();
            })
            .catch((error: Error) => {
              strangers.push(error.message);
            })
            .finally(() => clearTimeout(silent));
        });
      });
    } catch (error) {
      for (const { wire } of links.values()) wire.destroy();
      throw error;
    } finally {
      this.close();
      for (const socket of open) socket.destroy();
    }
    return [...links.values()].sort((a, b) => a.peer.rank - b.peer.rank);
  }

  close(): void {
    this.#server.close();
  }
}

/** The address to bind: none where a name leads to this host's loopback, though others have to come from elsewhere (Debian's 127.0.1.1). */
async function boundAddress(address: string, alone: boolean): Promise<string | undefined> {
  const found = await lookup(address).catch(() => null);
  if (found === null) {
    throw new DistributedError('rendezvous', `${address}, where the ranks are to meet (MASTER_ADDR), is no known host`);
  }
  return !alone && /^(127\.|::1$)/.test(found.address) ? undefined : found.address;
}

const listen = (server: Server, port: number, host: string | undefined): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host, exclusive: true }, () => {
      server.off('error', reject);
      resolve();
    });
  });

/** Any other rank's way: knocks until rank 0 opens. @throws DistributedError when it does not, or refuses. */
export async function knock(place: MeetingPlace, me: Peer): Promise<Link> {
  const until = performance.now() + place.patience;
  let last = 'nobody answers';
  while (performance.now() < until) {
    for (const address of place.addresses) {
      const socket = await connect(address, place.port, Math.min(5000, place.patience)).catch((error: Error) => {
        last = error.message;
        return null;
      });
      if (socket === null) continue;
      const wire = new Wire(socket);
      try {
        await introduce(wire, me, place);
        return { peer: { rank: 0, host: address, pid: 0, localRank: 0 }, wire };
      } catch (error) {
        socket.destroy();
        if (error instanceof DistributedError) throw error;
        // The door was closed in between: an earlier run's, say.
        last = (error as Error).message;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, KNOCKS));
  }
  throw new DistributedError(
    'rendezvous',
    `rank ${me.rank} did not reach rank 0 at port ${place.port} of ${place.addresses.join(' or ')} within ${place.patience / 1000} s (${last}): see whether rank 0 runs, and whether a firewall is between them`,
  );
}

const connect = (host: string, port: number, timeout: number): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = createConnection({ host, port });
    const timer = setTimeout(() => socket.destroy(new Error(`no answer from ${host} within ${timeout} ms`)), timeout);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.off('error', fail);
      resolve(socket);
    });
    const fail = (error: Error) => {
      clearTimeout(timer);
      reject(error);
    };
    socket.once('error', fail);
  });
