/** @file What the cache has of a repository while the hub may not be asked, and whether it is all there. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { HubError } from '../../hub/hub-error.js';
import { COMMIT } from '../../hub/listing.js';

/**
 * The directory of the snapshot that the cache has for a revision.
 * @param isModel whether config and weights must be in it; otherwise only that no link is dead.
 * @throws HubError when there is none, or it is incomplete.
 */
export async function cachedSnapshot(
  folder: string,
  repoId: string,
  revision: string,
  isModel: boolean,
): Promise<string> {
  const commit = COMMIT.test(revision)
    ? revision
    : await readFile(join(folder, 'refs', revision), 'utf8').then(
        (text) => text.trim(),
        () => undefined,
      );
  const snapshot = commit !== undefined && COMMIT.test(commit) ? join(folder, 'snapshots', commit) : undefined;
  const names = snapshot === undefined ? null : await readdir(snapshot, { recursive: true }).catch(() => null);
  if (snapshot === undefined || names === null) {
    throw new HubError(
      `${repoId}: revision '${revision}' is not in the cache (${folder}) and the hub may not be asked (HF_HUB_OFFLINE, or the offline option); run once online, or copy the model's directory and give its path`,
    );
  }
  const missing = await missingOf(snapshot, names, isModel);
  if (missing.length === 0) return snapshot;
  throw new HubError(
    `${repoId}: the copy in the cache is incomplete (${snapshot}): ${missing.slice(0, 4).join(', ')}${missing.length > 4 ? ` and ${missing.length - 4} more` : ''}; ` +
      'the hub may not be asked for the rest (HF_HUB_OFFLINE, or the offline option): run once online, and it goes on where it stopped',
  );
}

async function missingOf(snapshot: string, names: readonly string[], isModel: boolean): Promise<string[]> {
  const missing: string[] = [];
  const isThere = (name: string) =>
    stat(join(snapshot, name)).then(
      () => true,
      () => false,
    );
  for (const name of names) if (!(await isThere(name))) missing.push(`'${name}' points to a blob that is gone`);
  if (!isModel) return missing;
  if (!names.includes('config.json')) missing.push("'config.json' is not there");
  if (names.includes('model.safetensors')) return missing;
  const index = 'model.safetensors.index.json';
  if (!names.includes(index)) {
    missing.push(`no weights are there ('model.safetensors', or '${index}' and its shards)`);
    return missing;
  }
  for (const shard of await shardsOf(join(snapshot, index))) {
    if (!names.includes(shard)) missing.push(`the shard '${shard}' is not there`);
  }
  return missing;
}

/** What an index lists; nothing where it cannot be read, which whoever opens the weights says better. */
async function shardsOf(path: string): Promise<string[]> {
  try {
    const map = (JSON.parse(await readFile(path, 'utf8')) as { weight_map?: Record<string, unknown> }).weight_map ?? {};
    return [...new Set(Object.values(map))].filter((shard): shard is string => typeof shard === 'string');
  } catch {
    return [];
  }
}
