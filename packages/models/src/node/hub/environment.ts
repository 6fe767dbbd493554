/** @file What of the user's environment says where and as whom repositories of the hub are read, and where they are kept. */
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { HubError } from '../../hub/hub-error.js';
import type { RepoType } from '../../hub/repo-id.js';

export type Environment = Readonly<Record<string, string | undefined>>;

/** The hub's address without a slash at its end: `HF_ENDPOINT`, or the public one. */
export function endpointOf(option: string | undefined, env: Environment): string {
  return (option ?? (env.HF_ENDPOINT || 'https://huggingface.co')).replace(/\/+$/, '');
}

/** The cache that all Hugging Face libraries share: `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE`, or `hub` in `HF_HOME`. */
export function cacheDirOf(option: string | undefined, env: Environment): string {
  return option ?? (env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(homeOf(env), 'hub'));
}

function homeOf(env: Environment): string {
  return env.HF_HOME || join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface');
}

/** Folder of a repository in the cache, e.g. `models--meta-llama--Llama-3.2-1B`. */
export function repoFolder(repoType: RepoType, repoId: string): string {
  return [`${repoType}s`, ...repoId.split('/')].join('--');
}

/** `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE` set to something true. */
export function isOffline(env: Environment): boolean {
  return [env.HF_HUB_OFFLINE, env.TRANSFORMERS_OFFLINE].some((v) => v !== undefined && /^(1|on|yes|true)$/i.test(v));
}

/** Access token: `HF_TOKEN`, or the file that `hf auth login` writes; none where `HF_HUB_DISABLE_IMPLICIT_TOKEN` says so. */
export async function tokenOf(option: string | false | undefined, env: Environment): Promise<string | undefined> {
  if (option !== undefined) return option || undefined;
  if (/^(1|on|yes|true)$/i.test(env.HF_HUB_DISABLE_IMPLICIT_TOKEN ?? '')) return undefined;
  const given = (env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN)?.trim();
  if (given) return given;
  const path = env.HF_TOKEN_PATH || join(homeOf(env), 'token');
  try {
    return (await readFile(path, 'utf8')).trim() || undefined;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new HubError(`${path}: the access token cannot be read: ${(cause as Error).message}`, { cause });
  }
}
