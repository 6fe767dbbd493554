/** @file The base model of a run: from the page's own files, the hub, or a GGUF file that was dropped. Each passes the checks of a file on a disk. */
import {
  checkVocabulary,
  createTokenizer,
  fetchModelFiles,
  ggufTokenizerFiles,
  type LlamaConfig,
  LlamaForCausalLM,
  type OpenedModel,
  openGgufModel,
  openModel,
  parseLlamaConfig,
  readTokenizerFiles,
  type Tokenizer,
  type TokenizerFiles,
  type WeightMemory,
  weightMemory,
} from '@spft/models';
import { type FileSet, filesInMemory, readText, sourceOfBlob } from '@spft/safetensors';
import { PageError } from '../engine/errors.js';
import type { ModelChoice } from '../protocol.js';
import { filesOf, hubStore, noteComplete, storedModel } from '../storage/hub-models.js';
import { makeFolder, openForWriting, orNull, removeIfThere, writeAll } from '../storage/opfs.js';

export interface LoadedModel {
  readonly choice: ModelChoice;
  /** What its weights take there. */
  readonly weights: WeightMemory;
  /** On which its weights are. */
  readonly backend: string;
  readonly name: string;
  readonly model: LlamaForCausalLM;
  readonly tokenizer: Tokenizer;
  readonly tokenizerFiles: TokenizerFiles;
}

/** A model whose files are there and checked, and whose weights are not yet read. */
export interface FoundModel {
  readonly choice: ModelChoice;
  /** What its weights will take on the active backend. */
  readonly weights: WeightMemory;
  readonly name: string;
  readonly opened: OpenedModel;
  readonly tokenizerFiles: TokenizerFiles;
}

type Progress = (text: string, fraction: number | null) => void;

/** Whether a run on a model fits. What it throws ends the search. */
export type Check = (weights: WeightMemory, config: LlamaConfig) => void;

/**
 * Finds and checks a model's files. Close `opened`, or give it to `loadFound`.
 * @param check told of the model's weights before any is read, and, of a model from the hub, before they are fetched too.
 * @throws what is wrong with a file, by its own error; what `check` throws.
 */
export async function findModel(
  choice: ModelChoice,
  file: File | null,
  check: Check,
  onProgress: Progress,
): Promise<FoundModel> {
  const found = await findFiles(choice, file, check, onProgress);
  return { ...found, weights: await checked(found.opened, check) };
}

/** What the weights will take, for a run that fits. Closes the model where it does not. */
async function checked({ config, weights: files, close }: OpenedModel, check: Check): Promise<WeightMemory> {
  try {
    const weights = weightMemory(config, (name) => (files.has(name) ? files.entry(name).dtype : undefined));
    check(weights, config);
    return weights;
  } catch (error) {
    await close();
    throw error;
  }
}

async function findFiles(
  choice: ModelChoice,
  file: File | null,
  check: Check,
  onProgress: Progress,
): Promise<Omit<FoundModel, 'weights'>> {
  switch (choice.kind) {
    case 'quickstart': {
      const files = await quickstartFiles(onProgress);
      return { choice, name: 'quickstart', ...(await openBoth(files)) };
    }
    case 'gguf': {
      const kept = await ggufFile(choice.name, file, check, onProgress);
      const tokenizerFiles = await ggufTokenizerFiles(sourceOfBlob(kept, choice.name));
      const opened = await openGgufModel(sourceOfBlob(kept, choice.name));
      return { choice, name: choice.name.replace(/\.gguf$/i, ''), opened, tokenizerFiles };
    }
    case 'hub':
      return { choice, name: choice.id, ...(await openBoth(await hubFiles(choice, check, onProgress))) };
  }
}

/** Reads the weights to the active backend, and closes the files. */
export async function loadFound(found: FoundModel, backend: string, onProgress: Progress): Promise<LoadedModel> {
  const { choice, name, opened, tokenizerFiles, weights } = found;
  try {
    const tokenizer = createTokenizer(tokenizerFiles);
    checkVocabulary(tokenizer, opened.config.vocabSize);
    const model = await LlamaForCausalLM.fromWeights(opened.config, opened.weights, {
      onProgress: (loaded, total) => onProgress('Reading weights', loaded / total),
    });
    return { choice, weights, backend, name, model, tokenizer, tokenizerFiles };
  } finally {
    await opened.close();
  }
}

async function openBoth(files: FileSet): Promise<{ opened: OpenedModel; tokenizerFiles: TokenizerFiles }> {
  const tokenizerFiles = await readTokenizerFiles(files);
  return { opened: await openModel(files), tokenizerFiles };
}

const QUICKSTART = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
];

/** The quickstart's base lies beside the page. */
async function quickstartFiles(onProgress: Progress): Promise<FileSet> {
  const contents = new Map<string, Uint8Array>();
  for (const name of [...QUICKSTART, 'model.safetensors']) {
    onProgress('Loading the quickstart’s base', null);
    const url = new URL(`base/${name}`, globalThis.location.href);
    const response = await fetch(url).catch((error: Error) => error);
    if (response instanceof Error || !response.ok) {
      const found = response instanceof Error ? response.message : `the server answers ${response.status}`;
      throw new PageError(`${url.pathname} cannot be loaded: ${found}; is the whole folder of the page on the server?`);
    }
    contents.set(name, new Uint8Array(await response.arrayBuffer()));
  }
  return filesInMemory('the quickstart’s base', contents);
}

const ADVICE = {
  again: 'press Train again to go on',
  token: 'this page has no place for one; load the model with spft in Node, or take a model that is open to all',
};

/** What was fetched before is used as it is; the hub is asked only for what is not there. */
async function hubFiles(
  { id, endpoint }: Extract<ModelChoice, { kind: 'hub' }>,
  check: Check,
  onProgress: Progress,
): Promise<FileSet> {
  const stored = await storedModel(endpoint, id);
  if (stored) return stored;
  onProgress(`Asking for ${id}`, null);
  const commit = await fetchModelFiles(id, {
    endpoint,
    advice: ADVICE,
    init: { cache: 'no-store', credentials: 'omit', referrerPolicy: 'no-referrer' },
    store: (of) => hubStore(endpoint, id, of),
    onProgress: ({ file, receivedBytes, fileBytes }) =>
      onProgress(`Loading ${file} of ${id}`, fileBytes === null ? null : receivedBytes / fileBytes),
    async onFile(file, of) {
      if (file !== 'config.json') return;
      const text = await readText(await filesOf(endpoint, id, of), file);
      const json = parsedJson(text ?? '', file);
      const config = parseLlamaConfig(json, `${id}/${file}`);
      check(
        weightMemory(config, () => likelyDtype(json)),
        config,
      );
    },
  });
  await noteComplete(endpoint, id, commit);
  return filesOf(endpoint, id, commit);
}

/** What config.json says that weights are in: not more than will come, as what comes is looked at again. */
function likelyDtype(json: unknown): string {
  const { dtype, torch_dtype, quantization_config } = Object(json) as Record<string, unknown>;
  if (quantization_config) return 'NF4';
  return (dtype ?? torch_dtype) === 'float32' ? 'F32' : 'BF16';
}

function parsedJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new PageError(`${file} is no valid JSON: ${(error as Error).message}; choose another model.`);
  }
}

/** The dropped file, kept so that a run on it can go on after a reload; without a file, the one that was kept. */
async function ggufFile(name: string, file: File | null, check: Check, onProgress: Progress): Promise<Blob> {
  const folder = await makeFolder('gguf');
  if (file === null) {
    const kept = await orNull(folder.getFileHandle('model.gguf'));
    if (kept === null) {
      throw new PageError(`The file ${name} is no longer kept here; drop it on the page again, and start a new run.`);
    }
    return kept.getFile();
  }
  // Looked at first: what is no model, or does not fit, is not copied, nor does it take another's place.
  const opened = await openGgufModel(sourceOfBlob(file, name));
  await checked(opened, check);
  await opened.close();
  await removeIfThere(folder, 'model.gguf');
  const handle = await openForWriting(folder, 'model.gguf');
  try {
    for (let at = 0; at < file.size; at += COPY_BYTES) {
      const bytes = new Uint8Array(await file.slice(at, at + COPY_BYTES).arrayBuffer());
      writeAll(handle, bytes, at);
      onProgress(`Keeping ${name}`, Math.min(1, (at + bytes.length) / file.size));
    }
    handle.flush();
  } catch (error) {
    handle.close();
    await removeIfThere(folder, 'model.gguf');
    throw error;
  }
  handle.close();
  return (await folder.getFileHandle('model.gguf')).getFile();
}

const COPY_BYTES = 2 ** 24;
