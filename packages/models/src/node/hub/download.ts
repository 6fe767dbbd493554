/**
 * @file A repository of the Hugging Face hub into the cache that all of Hugging Face's libraries share
 * (`models--owner--name/{blobs,refs,snapshots}`).
 *
 * Why not `@huggingface/hub` (2.17): its `snapshotDownload` fills the same cache, but starts a broken file anew, tells no progress, repeats
 * nothing after a 5xx, knows neither `HF_ENDPOINT` nor `HF_HUB_OFFLINE`, leaves no choice of files (Llama repositories hold the weights
 * twice), and writes to the console. So this is fetch and the cache's layout.
 */
import { copyFile, lstat, mkdir, rename, rm, stat, symlink } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import { writeFileAtomically } from '@spft/safetensors/node';
import type { Asked, HttpOptions } from '../../hub/http.js';
import { HubError, keepSecret } from '../../hub/hub-error.js';
import { listFiles, matches, neededForModel } from '../../hub/listing.js';
import { isRepoId, type RepoType, splitEndpoint } from '../../hub/repo-id.js';
import { cachedSnapshot } from './cached-snapshot.js';
import { cannotWrite, downloadFile, fileInfo, isDiskError } from './download-file.js';

import { cacheDirOf, type Environment, endpointOf, isOffline, repoFolder, tokenOf } from './environment.js';
import { fetchFor } from './proxy.js';

export interface DownloadProgress {
  /** The file that is being fetched. */
  readonly file: string;
  /** Its place among `files`, from 0. */
  readonly fileIndex: number;
  readonly files: number;
  /** Bytes of this file that are there, of `fileBytes`, where the hub says how many there are. */
  readonly receivedBytes: number;
  readonly fileBytes: number | null;
}

export interface DownloadOptions {
  /** Branch, tag or commit. Default `main`. */
  readonly revision?: string;
  /** Access token; false for none. Default `HF_TOKEN` or the file that `hf auth login` writes. */
  readonly token?: string | false;
  /** Default `HF_HUB_CACHE`, or `hub` in `HF_HOME`, or `~/.cache/huggingface/hub`. */
  readonly cacheDir?: string;
  /** Default `HF_ENDPOINT` or https://huggingface.co. */
  readonly endpoint?: string;
  /** `*` stands for any text, `?` for one character. Default for models: what is needed to run one; for datasets: everything. */
  readonly allowPatterns?: readonly string[];
  /** Which of the repository's files, where patterns do not say it; none is fine. */
  readonly choose?: (files: readonly string[]) => readonly string[];
  readonly repoType?: RepoType;
  /** Use only what is in the cache. Default `HF_HUB_OFFLINE`. */
  readonly offline?: boolean;
  readonly onProgress?: (progress: DownloadProgress) => void;
  /** Default 5. */
  readonly retries?: number;
  /** Default 500. */
  readonly retryDelayMs?: number;
  /** Default 30,000. */
  readonly idleTimeoutMs?: number;
  /** Default `process.env`. */
  readonly env?: Environment;
}

export const DOWNLOAD_OPTIONS: OptionNames<DownloadOptions> = {
  ...{ revision: true, token: true, cacheDir: true, endpoint: true, env: true, offline: true },
  ...{ allowPatterns: true, choose: true, repoType: true, onProgress: true },
  ...{ retries: true, retryDelayMs: true, idleTimeoutMs: true },
};

/**
 * Brings a repository into the cache, as far as it is not yet there.
 * @returns the directory of its snapshot.
 * @throws HubError when the hub does not give it, or it is not in the cache while offline.
 */
export async function downloadModel(repoId: string, options: DownloadOptions = {}): Promise<string> {
  assertKnownOptions('downloadModel', options, DOWNLOAD_OPTIONS);
  const env = options.env ?? process.env;
  const { revision = 'main', repoType = 'model' } = options;
  if (!isRepoId(repoId)) {
    throw new HubError(`'${repoId}' is no id of a repository; wanted owner/name, e.g. HuggingFaceTB/SmolLM2-135M`);
  }
  // A revision becomes a path below refs/.
  if (!/^[\w.+-]+(\/[\w.+-]+)*$/.test(revision) || revision.split('/').some((part) => /^\.+$/.test(part))) {
    throw new HubError(`${repoId}: '${revision}' is no revision; wanted a branch, tag or commit`);
  }
  const folder = join(cacheDirOf(options.cacheDir, env), repoFolder(repoType, repoId));
  if (options.offline ?? isOffline(env)) {
    return cachedSnapshot(folder, repoId, revision, repoType === 'model' && options.allowPatterns === undefined);
  }

  const { address: endpoint, basic } = splitEndpoint(endpointOf(options.endpoint, env));
  const token = await tokenOf(options.token, env);
  for (const secret of [token, basic]) if (secret !== undefined) keepSecret(secret);
  const prefix = repoType === 'dataset' ? 'datasets/' : '';
  const asked: Asked = { repoId, revision, page: `${endpoint}/${prefix}${repoId}` };
  const http: HttpOptions = {
    token,
    basic,
    fetchFor: (url) => fetchFor(url, env),
    headers: { 'user-agent': 'spft', 'accept-encoding': 'identity' },
    retries: options.retries ?? 5,
    retryDelayMs: options.retryDelayMs ?? 500,
    idleTimeoutMs: options.idleTimeoutMs ?? 30_000,
  };
  const { commit, files } = await listFiles(
    `${endpoint}/api/${repoType}s/${repoId}/revision/${encodeURIComponent(revision)}`,
    asked,
    http,
  );
  const chosen = options.choose
    ? options.choose(files)
    : options.allowPatterns
      ? files.filter((file) => options.allowPatterns!.some((pattern) => matches(file, pattern)))
      : repoType === 'model'
        ? neededForModel(repoId, files)
        : files;
  if (chosen.length === 0 && !options.choose) {
    throw new HubError(
      `${repoId}: none of its ${files.length} files matches ${(options.allowPatterns ?? ['*']).join(', ')}; it has ${files.slice(0, 8).join(', ')}`,
    );
  }
  const snapshot = join(folder, 'snapshots', commit);
  for (const [fileIndex, file] of chosen.entries()) {
    const pointer = join(snapshot, file);
    if (await exists(pointer)) continue;
    const url = `${endpoint}/${prefix}${repoId}/resolve/${commit}/${file.split('/').map(encodeURIComponent).join('/')}`;
    const askedFile = { ...asked, file };
    const info = await fileInfo(url, askedFile, http);
    const blob = join(folder, 'blobs', info.etag);
    if (!(await exists(blob))) {
      await onDisk(blob, () => mkdir(dirname(blob), { recursive: true }));
      await downloadFile(url, blob, info, askedFile, http, (receivedBytes) =>
        options.onProgress?.({ file, fileIndex, files: chosen.length, receivedBytes, fileBytes: info.size }),
      );
    }
    await onDisk(pointer, () => point(pointer, blob));
  }
  // Last, so that whoever is offline finds a whole snapshot or the one before.
  const ref = join(folder, 'refs', revision);
  if (revision !== commit) {
    await onDisk(ref, () => writeFileAtomically(ref, (handle) => handle.writeFile(commit)));
  }
  return snapshot;

  /** What the disk refuses is an error of the hub's cache. */
  async function onDisk(path: string, write: () => Promise<unknown>): Promise<void> {
    try {
      await write();
    } catch (cause) {
      if (!isDiskError(cause)) throw cause;
      throw new HubError(`${repoId}: ${cannotWrite(cause, path)}`, { cause });
    }
  }
}

/** A data set's repository, with all its files unless `allowPatterns` chooses. @returns and throws as `downloadModel`. */
export function downloadDataset(repoId: string, options: Omit<DownloadOptions, 'repoType'> = {}): Promise<string> {
  assertKnownOptions('downloadDataset', options, DOWNLOAD_OPTIONS);
  return downloadModel(repoId, { ...options, repoType: 'dataset' });
}

/** Whether there is a file or directory, through links. */
function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** Makes `pointer` a relative link to `blob`, or a copy where links are not allowed (Windows without developer mode). */
async function point(pointer: string, blob: string): Promise<void> {
  await mkdir(dirname(pointer), { recursive: true });
  // A link to a blob that is gone.
  if (await lstat(pointer).catch(() => null)) await rm(pointer);
  try {
    await symlink(relative(dirname(pointer), blob), pointer);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'EEXIST') return;
    if (code !== 'EPERM' && code !== 'ENOSYS' && code !== 'ENOTSUP') throw error;
    await copyFile(blob, `${pointer}.incomplete`);
    await rename(`${pointer}.incomplete`, pointer);
  }
}
