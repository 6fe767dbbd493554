/**
 * @file Checkpoints of a run of several ranks: rank 0 alone touches the store, the others hear from it, so no file system needs to be shared and all go
 * on with the same bytes.
 */
import { TrainerError, type TrainerErrorReason } from '../errors.js';
import { broadcastJson, type Ranks } from '../loop/ranks.js';
import type { CheckpointFiles, CheckpointStore } from './store.js';

/** What came of something that rank 0 did: the others fail as it does. */
type Outcome<T> = { readonly value: T } | { readonly reason: TrainerErrorReason; readonly message: string };

async function outcomeOf<T>(work: () => Promise<T>): Promise<Outcome<T>> {
  try {
    return { value: await work() };
  } catch (error) {
    // Anything else ends the run, which the ranks hear of otherwise.
    if (!(error instanceof TrainerError)) throw error;
    return { reason: error.reason, message: error.message };
  }
}

/** @param store of rank 0; the others' is asked for locations alone. Its methods are called on all ranks at the same time. */
export function sharedStore(store: CheckpointStore, ranks: Ranks): CheckpointStore {
  const isFirst = ranks.rank === 0;
  const fromFirst = async <T>(work: () => Promise<T>): Promise<T> => {
    const outcome = await broadcastJson(ranks, () => outcomeOf(work));
    if ('value' in outcome) return outcome.value;
    throw new TrainerError(outcome.reason, outcome.message);
  };
  return {
    locate: (step) => store.locate(step),
    write: (step, files) => fromFirst(() => store.write(step, files)),
    list: () => fromFirst(() => store.list()),
    remove: async (location) => (isFirst ? store.remove(location) : undefined),
    async read(location) {
      let files: CheckpointFiles = new Map();
      const index = await fromFirst(async () => {
        files = await store.read(location);
        return [...files].map(([name, { length }]): [string, number] => [name, length]);
      });
      const whole = await ranks.host.broadcast(isFirst ? joined([...files.values()]) : null).done;
      let end = 0;
      return new Map(
        index.map(([name, length]) => {
          end += length;
          // Copies, as tensors want addresses that are multiples of their elements.
          return [name, whole.slice(end - length, end)];
        }),
      );
    },
  };
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let place = 0;
  for (const part of parts) {
    whole.set(part, place);
    place += part.length;
  }
  return whole;
}
