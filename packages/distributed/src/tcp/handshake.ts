/**
 * @file How two ranks make sure of each other: both show that they know the run's token without sending it (HMAC of both sides' random numbers), and
 * that they are of the same run. Without a token anyone who can reach the address may come as a rank, so there the address should be a private one.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { DistributedError } from '../errors.js';
import type { Wire } from './wire.js';

/** Who a rank is, as it says. */
export interface Peer {
  readonly rank: number;
  readonly host: string;
  readonly pid: number;
  readonly localRank: number;
}

/** What both sides must agree on. */
export interface Membership {
  readonly size: number;
  readonly runId: string;
  readonly token: string | null;
}

const PROTOCOL = 'spft-ranks-1';

const proof = (token: string | null, side: 'server' | 'client', ...parts: readonly (string | number)[]): string =>
  createHmac('sha256', token ?? '')
    .update([PROTOCOL, side, ...parts].join('\0'))
    .digest('hex');

function isProof(given: unknown, wanted: string): boolean {
  const text = typeof given === 'string' ? given : '';
  return text.length === wanted.length && timingSafeEqual(Buffer.from(text), Buffer.from(wanted));
}

/**
 * A rank's side.
 * @throws DistributedError with reason `rendezvous` when rank 0 refuses, or is none.
 */
export async function introduce(wire: Wire, me: Peer, { size, runId, token }: Membership): Promise<void> {
  const nonce = randomBytes(16).toString('hex');
  wire.send({ protocol: PROTOCOL, ...me, size, runId, nonce, token: token !== null });
  const { header } = await wire.next();
  if (header.refused) throw new DistributedError('rendezvous', `rank 0 refuses rank ${me.rank}: ${header.refused}`);
  const theirs = String(header.nonce);
  if (!isProof(header.proof, proof(token, 'server', nonce, theirs))) {
    throw new DistributedError(
      'rendezvous',
      'who answers where rank 0 should be does not know the token of this run (SPFT_TOKEN): it is of another run, or no rank at all',
    );
  }
  wire.trusted = true;
  wire.send({ proof: proof(token, 'client', theirs, nonce, me.rank) });
  const { header: answer } = await wire.next();
  if (answer.refused) throw new DistributedError('rendezvous', `rank 0 refuses rank ${me.rank}: ${answer.refused}`);
}

/**
 * Rank 0's side: who has come. One that is refused is told why.
 * @param isThere whether a rank has come already: who it is.
 * @throws DistributedError when it is refused.
 */
export async function admit(
  wire: Wire,
  { size, runId, token }: Membership,
  isThere: (rank: number) => Peer | undefined,
): Promise<Peer> {
  const refuse = (why: string): never => {
    wire.send({ refused: why });
    void wire.end();
    throw new DistributedError('rendezvous', why);
  };
  const { header } = await wire.next();
  if (header.protocol !== PROTOCOL) {
    refuse(
      `it speaks ${JSON.stringify(header.protocol ?? null)}, not ${PROTOCOL}: give all ranks the same version of spft`,
    );
  }
  const { rank, host, pid, localRank, nonce } = header as Record<string, unknown>;
  if (header.token !== (token !== null)) {
    refuse(`SPFT_TOKEN is set for ${token !== null ? 'rank 0' : 'it'} only: give all ranks the same, or none`);
  }
  const mine = randomBytes(16).toString('hex');
  wire.send({ nonce: mine, proof: proof(token, 'server', String(nonce), mine) });
  const { header: answer } = await wire.next();
  if (!isProof(answer.proof, proof(token, 'client', mine, String(nonce), Number(rank)))) {
    refuse('it does not know the token of this run (SPFT_TOKEN)');
  }
  if (header.size !== size) refuse(`its world size is ${header.size}, rank 0's is ${size}`);
  if (header.runId !== runId) refuse(`it is of the run "${header.runId}", rank 0 of "${runId}"`);
  if (!(Number.isInteger(rank) && Number(rank) > 0 && Number(rank) < size))
    refuse(`there is no rank ${rank} beside 0 of ${size}`);
  const peer = { rank: Number(rank), host: String(host), pid: Number(pid), localRank: Number(localRank) };
  const there = isThere(peer.rank);
  if (there) refuse(`rank ${peer.rank} has come already, as process ${there.pid} on ${there.host}`);
  wire.trusted = true;
  wire.send({ welcome: true });
  return peer;
}
