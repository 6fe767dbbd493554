/**
 * @file A model's files from the hub to wherever there is room: what a page has in the place of `downloadModel` of `/node`. Listing, choice of files, tries,
 * refusals and checks are the same; hashes come with the listing (`?blobs=true`), as a browser shows no headers of a redirect.
 */
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import { fetchFile, type PartialFile } from './fetch-file.js';
import type { Asked, HttpOptions } from './http.js';
import { HubError } from './hub-error.js';
import { type FileInfo, listFiles, neededForModel } from './listing.js';
import { isRepoId, splitEndpoint } from './repo-id.js';

/** Where the files of one revision lie. */
export interface ModelStore {
  /** Whether a file is there, whole and checked. */
  has(file: string, info: FileInfo): Promise<boolean>;
  /** Where it is fetched to. */
  partial(file: string): Promise<PartialFile>;
  /** It is whole and checked now. */
  complete(file: string, info: FileInfo): Promise<void>;
}

export interface FetchModelOptions extends Pick<HttpOptions, 'fetchFor' | 'init' | 'advice'> {
  /** Default https://huggingface.co. */
  readonly endpoint?: string;
  /** Branch, tag or commit. Default `main`. */
  readonly revision?: string;
  /** The place of a commit's files. */
  readonly store: (commit: string) => Promise<ModelStore>;
  /** Told of each file that is there; the small ones come first, config.json among them. What it throws ends the download. */
  readonly onFile?: (file: string, commit: string) => Promise<void>;
  readonly onProgress?: (progress: {
    readonly file: string;
    readonly receivedBytes: number;
    readonly fileBytes: number | null;
  }) => void;
  /** Default 5. */
  readonly retries?: number;
  /** Default 500. */
  readonly retryDelayMs?: number;
  /** Default 30,000. */
  readonly idleTimeoutMs?: number;
}

const OPTIONS: OptionNames<FetchModelOptions> = {
  ...{ endpoint: true, revision: true, store: true, onFile: true, onProgress: true },
  ...{ retries: true, retryDelayMs: true, idleTimeoutMs: true, fetchFor: true, init: true, advice: true },
};

/**
 * Fetches what a model needs, as far as it is not there yet.
 * @returns the commit whose files these are.
 * @throws HubError when the hub does not give it; the storage's own errors as they are.
 */
export async function fetchModelFiles(repoId: string, options: FetchModelOptions): Promise<string> {
  assertKnownOptions('fetchModelFiles', options, OPTIONS);
  const { revision = 'main', fetchFor, init, advice } = options;
  if (!isRepoId(repoId)) {
    throw new HubError(`'${repoId}' is no id of a repository; wanted owner/name, e.g. HuggingFaceTB/SmolLM2-135M`);
  }
  const { address, basic } = splitEndpoint((options.endpoint ?? 'https://huggingface.co').replace(/\/+$/, ''));
  const asked: Asked = { repoId, revision, page: `${address}/${repoId}` };
  const http: HttpOptions = {
    ...{ basic, fetchFor, init, advice },
    retries: options.retries ?? 5,
    retryDelayMs: options.retryDelayMs ?? 500,
    idleTimeoutMs: options.idleTimeoutMs ?? 30_000,
  };
  const listing = `${address}/api/models/${repoId}/revision/${encodeURIComponent(revision)}?blobs=true`;
  const { commit, files, infos } = await listFiles(listing, asked, http);
  const store = await options.store(commit);
  for (const file of neededForModel(repoId, files)) {
    const info = infos.get(file);
    if (!info) {
      throw new HubError(
        `${repoId}: ${file}: the hub says neither hash nor size of it (blobs=true); check the endpoint`,
      );
    }
    if (!(await store.has(file, info))) {
      const url = `${address}/${repoId}/resolve/${commit}/${file.split('/').map(encodeURIComponent).join('/')}`;
      await fetchFile(url, await store.partial(file), info, { ...asked, file }, http, (receivedBytes) =>
        options.onProgress?.({ file, receivedBytes, fileBytes: info.size }),
      );
      await store.complete(file, info);
    }
    await options.onFile?.(file, commit);
  }
  return commit;
}
