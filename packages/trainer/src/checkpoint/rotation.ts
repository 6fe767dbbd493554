/** @file Which checkpoints to give up. */
import type { CheckpointEntry } from './store.js';

/**
 * Those beyond `limit`, oldest first; never the last, never the best. So a limit of 1 keeps two when best and last differ, as in
 * transformers.
 */
export function surplusCheckpoints(
  complete: readonly CheckpointEntry[],
  limit: number | null,
  best: string | null,
): CheckpointEntry[] {
  if (limit === null) return [];
  const last = complete.at(-1)?.location;
  const removable = complete.filter(({ location }) => location !== last && location !== best);
  const surplus = Math.max(0, complete.length - limit);
  return removable.slice(0, surplus);
}
