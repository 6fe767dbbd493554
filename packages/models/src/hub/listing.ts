/** @file Which files a repository has, and which of them a model needs. */
import { type Asked, bodyText, type HttpOptions, reason, request, Transient, withRetries } from './http.js';
import { HubError } from './hub-error.js';

export const COMMIT = /^[0-9a-f]{40}$/;

/** What the hub says of a file before it is fetched. */
export interface FileInfo {
  /** SHA-256 of a large file, git's SHA-1 of a small one. */
  readonly etag: string;
  /** Size in bytes, where the hub says. */
  readonly size: number | null;
}

export interface Listing {
  readonly commit: string;
  readonly files: string[];
  /** Of the files of which the answer says it: where it was asked for (`?blobs=true`). */
  readonly infos: ReadonlyMap<string, FileInfo>;
}

interface Sibling {
  readonly rfilename?: unknown;
  readonly size?: unknown;
  readonly blobId?: unknown;
  readonly lfs?: { readonly sha256?: unknown; readonly size?: unknown } | null;
}

/** The files of a revision. @throws HubError when the answer is none, or names what no disk should hold. */
export async function listFiles(url: string, asked: Asked, http: HttpOptions): Promise<Listing> {
  const json = await withRetries(asked, http, async () => {
    const response = await request(url, asked, http, {});
    try {
      const text = await bodyText(response, MAX_LISTING);
      return JSON.parse(text) as { sha?: unknown; siblings?: (Sibling | null)[] } | null;
    } catch (cause) {
      if (cause instanceof HubError) throw new HubError(`${asked.repoId}: ${cause.message}`, { cause });
      throw new Transient(`the hub's answer is no JSON (${reason(cause)})`, undefined, false, { cause });
    }
  });
  const names = Array.isArray(json?.siblings) ? json.siblings.map((s) => s?.rfilename) : undefined;
  if (
    typeof json?.sha !== 'string' ||
    !COMMIT.test(json.sha) ||
    !names?.every((n): n is string => typeof n === 'string')
  ) {
    throw new HubError(
      `${asked.repoId}: the answer of ${url} names no commit and files; check the endpoint (HF_ENDPOINT)`,
    );
  }
  checkNames(asked.repoId, names);
  const infos = new Map(
    json.siblings!.flatMap((sibling, n): [string, FileInfo][] => {
      const info = infoOf(sibling!);
      return info ? [[names[n]!, info]] : [];
    }),
  );
  return { commit: json.sha, files: names, infos };
}

function infoOf({ size, blobId, lfs }: Sibling): FileInfo | null {
  const [etag, bytes] = lfs ? [lfs.sha256, lfs.size] : [blobId, size];
  const isHash = typeof etag === 'string' && (lfs ? /^[0-9a-f]{64}$/ : /^[0-9a-f]{40}$/).test(etag);
  return isHash && Number.isSafeInteger(bytes) && (bytes as number) >= 0 ? { etag, size: bytes as number } : null;
}

/** @throws HubError when a name leads out of the cache, is none, or two cannot stand beside each other. */
function checkNames(repoId: string, names: readonly string[]): void {
  const outside = names.find((name) => name.startsWith('/') || /(^|[\\/])\.\.?([\\/]|$)|\\|^[A-Za-z]:|\0/.test(name));
  if (outside !== undefined) {
    throw new HubError(
      `${repoId}: has a file named '${outside.slice(0, 100)}', which leads out of the cache; it is not downloaded`,
    );
  }
  const empty = names.find((name) =>
    name.split('/').some((part) => part === '' || new TextEncoder().encode(part).length > 255),
  );
  if (empty !== undefined) {
    throw new HubError(
      `${repoId}: has a file named '${empty.slice(0, 100)}', which is no name of a file; check the endpoint (HF_ENDPOINT)`,
    );
  }
  const folders = new Set(
    names.flatMap((name) =>
      name
        .split('/')
        .slice(0, -1)
        .map((_, n, parts) => parts.slice(0, n + 1).join('/')),
    ),
  );
  const both = names.find((name) => folders.has(name));
  if (both !== undefined) {
    throw new HubError(
      `${repoId}: has '${both.slice(0, 100)}' both as a file and as a folder with files in it, which no disk can hold; check the endpoint (HF_ENDPOINT)`,
    );
  }
}

/** Bytes of a list of files; the longest on the hub are of some megabytes. */
const MAX_LISTING = 2 ** 26;

const MODEL_FILES =
  /^(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens)\.json$|^tokenizer\.model$|^chat_template\.jinja$|^additional_chat_templates\/[^/]+\.jinja$/;

/** Config, tokenizer and one set of weights: not the other formats, precisions and frameworks that a repository may hold too. */
export function neededForModel(repoId: string, files: readonly string[]): string[] {
  const weights = files.includes('model.safetensors')
    ? ['model.safetensors']
    : files.filter((f) => /^model-\d+-of-\d+\.safetensors$|^model\.safetensors\.index\.json$/.test(f));
  if (weights.length === 0) {
    const others = files.filter((f) => /\.(safetensors|bin|pt|pth|gguf|onnx|h5|msgpack)$/.test(f));
    throw new HubError(
      `${repoId}: has no weights as model.safetensors (it has ${others.slice(0, 5).join(', ') || 'no weights at all'}); choose a repository with safetensors, or convert it with transformers' save_pretrained`,
    );
  }
  // Small files first: what is wrong with a model mostly shows in its config.
  return [...files.filter((f) => MODEL_FILES.test(f)), ...weights];
}

export function matches(file: string, pattern: string): boolean {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${source}$`, 's').test(file);
}
