/** @file The other processes of a run, where a launcher has started several: met, given their part of this machine, and told of what goes wrong. */
import { availableParallelism, cpus, hostname } from 'node:os';
import { hasNccl, NcclTensors, type OpenedGroup, openProcessGroup, shardsOf } from '@spft/distributed';
import type { ShareScores } from '@spft/estimator';
import type { WeightShards } from '@spft/sparse-ops';
import { gatherJson } from '@spft/trainer/internals';
import * as tf from '@tensorflow/tfjs';
import { CliError, messageOf } from '../errors.js';
import { Output } from '../terminal/output.js';
import { table } from '../terminal/table.js';

/**
 * Does something on all ranks that a launcher started, or alone. Rank 0 alone says what goes on; what ends the run is said once, by whom it can be.
 * @param work gets null where this process is alone.
 * @throws what `work` throws; an error without a word where another rank says it.
 */
export async function onRanks<T>(
  output: Output,
  work: (ranks: OpenedGroup | null, output: Output) => Promise<T>,
): Promise<T> {
  const ranks = await openProcessGroup(output.io.env);
  if (ranks === null) return work(null, output);
  const own = ranks.rank === 0 ? output : silent(output);
  own.note(`${ranks.size} ranks by ${ranks.description}`);
  try {
    takeShareOfHost(ranks);
    const result = await work(ranks, own);
    await ranks.close();
    return result;
  } catch (thrown) {
    const error = await causeOf(thrown, ranks);
    // A bug's stack is told too: whoever reads it has no other.
    ranks.abort(new Error(messageOf(error) ?? (error as Error).stack ?? String(error), { cause: error }));
    const { speaks } = ranks;
    await ranks.close();
    if (speaks) throw error;
    throw new CliError('another rank says why', { silent: true, cause: error });
  }
}

/** How long the host's side may take to say which rank is gone, where a GPU's side has noticed first and cannot name it. */
const NAMED_MS = 3000;

async function causeOf(error: unknown, ranks: OpenedGroup): Promise<unknown> {
  if ((error as { readonly code?: string }).code !== 'SPFT_NCCL') return error;
  const until = performance.now() + NAMED_MS;
  while (ranks.error === null && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 20));
  return ranks.error ?? error;
}

/** Says nothing, and hears signals. */
function silent({ io }: Output): Output {
  const nowhere = { write: () => undefined };
  return new Output({ ...io, stdout: nowhere, stderr: nowhere }, true);
}

/**
 * Ranks of one host share its cores and take a GPU each, unless the environment says otherwise, or the launcher has bound them to less already.
 */
function takeShareOfHost({ localRank, localSize }: OpenedGroup): void {
  if (localSize === 1) return;
  process.env.SPFT_THREADS ||= String(threadsOf(localSize, availableParallelism(), cpus().length));
  // A launcher that shows each rank one GPU has dealt them out.
  const visible = process.env.CUDA_VISIBLE_DEVICES?.split(',').filter((name) => name.trim() !== '');
  if (visible?.length !== 1) process.env.SPFT_CUDA_DEVICE ||= String(localRank);
}

/** Threads of a rank, of so many on a host. @param usable cores that the process may use. @param cores of the host. */
function threadsOf(localSize: number, usable: number, cores: number): number {
  return Math.max(1, usable * localSize <= cores ? usable : Math.floor(usable / localSize));
}

/**
 * What makes one choice of channels of all ranks' scores, for `shared_selection`.
 * @returns undefined, and says so, where there is nothing to share.
 */
export function sharedScores(ranks: OpenedGroup | null, isSparse: boolean, output: Output): ShareScores | undefined {
  if (ranks === null || !isSparse) {
    output.note(
      `shared_selection: ${isSparse ? 'this is the only rank' : 'the run is dense'}, so there is nothing to share`,
    );
    return undefined;
  }
  // A sum takes over what it is given, and may be made in place.
  return (scores) => ranks.tensors.allReduce([tf.mul(scores, 1)]).wait()[0] as tf.Tensor1D;
}

/** Sums tensors by NCCL where the active backend has it. @throws DistributedError, on all ranks alike. */
export async function connectGpus(ranks: OpenedGroup, output: Output): Promise<void> {
  if (!hasNccl()) return;
  const tensors = await NcclTensors.connect(ranks, hostname());
  ranks.useTensors(tensors);
  output.note(`gradients by NCCL ${tensors.version}`);
}

/**
 * What holds a part of the base on each rank, for `shard_base`.
 * @returns null where this process is alone, and has all of it.
 * @throws CliError for what ranks would do by themselves, DistributedError where the backend has no shards.
 */
export function shardsFor(
  ranks: OpenedGroup | null,
  asked: { readonly tasks: boolean; readonly auto: boolean },
  output: Output,
): WeightShards | null {
  if (ranks === null) {
    output.note('shard_base: this process is alone, and has the whole base');
    return null;
  }
  const [what, instead] = asked.tasks
    ? ['eval_dataset', 'evaluate the adapter by spft eval when it is trained, or hold out samples by --validation']
    : asked.auto
      ? ['a sparsity plan that is made for this run', 'make it by spft sparsity plan, and give its file']
      : [];
  if (what) {
    throw new CliError(
      `shard_base does not go with ${what}, in which a rank would use the base by itself, of which it has a part: ${instead}`,
    );
  }
  return shardsOf(ranks);
}

/** Does on the first rank of each host what the others find done, such as downloads into a cache; all call it at the same time. */
export async function firstOnHost<T>(ranks: OpenedGroup | null, work: () => Promise<T>): Promise<T> {
  if (ranks === null) return work();
  if (ranks.localRank > 0) {
    await ranks.host.barrier().done;
    return work();
  }
  const result = await work();
  await ranks.host.barrier().done;
  return result;
}

/**
 * Makes sure that all ranks are about to do the same.
 * @param facts of this rank, by name.
 * @throws CliError on all ranks, naming what differs, and on which.
 */
export async function requireSame(ranks: OpenedGroup, facts: Readonly<Record<string, string>>): Promise<void> {
  const all = await gatherJson(ranks, facts);
  const names = [...new Set(all.flatMap((one) => Object.keys(one)))];
  const different = names.flatMap((name) => {
    const rank = all.findIndex((one) => one[name] !== all[0]![name]);
    if (rank < 0) return [];
    return [`${name} is ${shown(all[0]![name])} on rank 0 and ${shown(all[rank]![name])} on rank ${rank}`];
  });
  if (different.length === 0) return;
  throw new CliError(
    `the ranks are not about to do the same: ${different.join('; ')}. Give all of them the same version, files and command`,
  );
}

const shown = (text: string | undefined): string =>
  text === undefined ? 'not given' : text.length > 60 ? `${text.slice(0, 57)}…` : text === '' ? "''" : text;

/** Who does what, for `--dry_run`. */
export async function ranksTable(
  ranks: OpenedGroup | null,
  own: {
    readonly backend: string;
    readonly device: string;
    readonly threads: string;
    readonly rows: string;
    readonly base: string;
  },
): Promise<string> {
  const all = ranks === null ? [own] : await gatherJson(ranks, own);
  return table(
    ['rank', 'host', 'process', 'backend', 'device', 'threads', 'rows of an epoch', 'base'],
    all.map(({ backend, device, threads, rows, base }, rank) => {
      const peer = ranks?.peers[rank];
      return [
        String(rank),
        peer?.host ?? 'here',
        String(peer?.pid ?? process.pid),
        backend,
        device,
        threads,
        rows,
        base,
      ];
    }),
  );
}
