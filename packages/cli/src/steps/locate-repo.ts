/**
 * @file Adapters and sparsity by an id on the hub, as the original's models are named there: of the repository what is needed is brought into the
 * cache that models come from too.
 */
import { existsSync } from 'node:fs';
import { extname, join, sep } from 'node:path';
import { type DownloadOptions, downloadModel, HubError, isRepoId } from '@spft/models/node';
import type { Output } from '../terminal/output.js';
import { bytes } from '../terminal/table.js';

/** An adapter as PEFT has it, what spft keeps beside one, and the sparsity that it was trained with. */
const ADAPTER_FILES = [
  ...['adapter_config.json', 'adapter_model.safetensors', 'spft_base.json', 'spft_run.json', 'sparselora_config.json'],
];
/** A config in the hub layout and the predictors beside it. */
const SPARSITY_FILES = [
  ...[
    'config.json',
    'sparselora_config.json',
    'model.safetensors',
    'model.safetensors.index.json',
    'model-*.safetensors',
  ],
];

/** The directory of an adapter: itself, or that of a repository. @throws HubError when the hub does not give it. */
export async function locateAdapter(nameOrDirectory: string, output: Output): Promise<string> {
  return isOnHub(nameOrDirectory) ? fetchFiles(nameOrDirectory, ADAPTER_FILES, output) : nameOrDirectory;
}

/** A sparsity file, or the directory of a hub layout: itself, or that of a repository. @throws HubError when the hub does not give it. */
export async function locateSparsity(nameOrPath: string, output: Output): Promise<string> {
  if (!isOnHub(nameOrPath)) return nameOrPath;
  const directory = await fetchFiles(nameOrPath, SPARSITY_FILES, output);
  // What a run of theirs saved beside its adapter is the config of that run.
  const saved = join(directory, 'sparselora_config.json');
  return existsSync(saved) ? saved : directory;
}

/** How a repository is named where a directory that is not there yet may be meant as well. */
const ON_HUB = 'hf://';

/**
 * A directory of predictors of several models: itself, or that of a repository (`hf://OWNER/NAME`), of which one model's are fetched.
 * @param leaf where that model's lie, e.g. `Meta-Llama-3-8B-Instruct/r_8`.
 * @throws HubError when the hub does not give them.
 */
export async function locatePredictors(nameOrDirectory: string, leaf: string, output: Output): Promise<string> {
  if (!nameOrDirectory.startsWith(ON_HUB)) return nameOrDirectory;
  const below = leaf.split(sep).join('/');
  return fetchFiles(nameOrDirectory.slice(ON_HUB.length), [`${below}/*`, `*/${below}/*`], output);
}

/** `owner/name`, where nothing on this machine has that name and it is no file by its ending: a mistyped path is not asked for on the hub. */
function isOnHub(name: string): boolean {
  const [owner, rest] = name.split('/');
  return rest !== undefined && isRepoId(name) && !existsSync(name) && !existsSync(owner!) && !FILES.has(extname(name));
}

const FILES: ReadonlySet<string> = new Set(['.yaml', '.yml', '.json', '.safetensors']);

async function fetchFiles(repoId: string, allowPatterns: readonly string[], output: Output): Promise<string> {
  try {
    return await downloadWithProgress(repoId, output, (onProgress) =>
      downloadModel(repoId, { allowPatterns, onProgress }),
    );
  } catch (error) {
    if (!(error instanceof HubError)) throw error;
    const { status } = error;
    throw new HubError(`${error.message} (there is nothing of the name '${repoId}' here either)`, {
      status,
      cause: error,
    });
  }
}

/** Runs a download whose progress is shown, from its first byte on. @returns its directory. */
export async function downloadWithProgress(
  name: string,
  output: Output,
  download: (onProgress: DownloadOptions['onProgress']) => Promise<string>,
): Promise<string> {
  let task: ReturnType<Output['task']> | null = null;
  const shown = () => task as ReturnType<Output['task']> | null;
  try {
    const path = await download(({ file, fileIndex, files, receivedBytes, fileBytes }) => {
      task ??= output.task(`download ${name}`);
      const size = fileBytes === null ? '' : ` of ${bytes(fileBytes)}`;
      task.update(fileBytes === null ? null : receivedBytes / fileBytes, `${fileIndex + 1}/${files} ${file}${size}`);
    });
    shown()?.done(path);
    return path;
  } catch (error) {
    shown()?.fail();
    throw error;
  }
}
