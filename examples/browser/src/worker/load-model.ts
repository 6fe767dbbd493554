/** @file The base model of a run: from the page's own files, or a GGUF file that was dropped. Each passes the checks of a file on a disk. */
import {
  checkVocabulary,
  createTokenizer,
  ggufTokenizerFiles,
  LlamaForCausalLM,
  type OpenedModel,
  openGgufModel,
  openModel,
  readTokenizerFiles,
  type Tokenizer,
  type TokenizerFiles,
} from '@spft/models';
import { type FileSet, filesInMemory, sourceOfBlob } from '@spft/safetensors';
import { PageError } from '../engine/errors.js';
import type { ModelChoice } from '../protocol.js';
import { makeFolder, openForWriting, orNull, removeIfThere, writeAll } from '../storage/opfs.js';

export interface LoadedModel {
  readonly choice: ModelChoice;
  readonly name: string;
  readonly model: LlamaForCausalLM;
  readonly tokenizer: Tokenizer;
  readonly tokenizerFiles: TokenizerFiles;
}

/** A model whose files are there and checked, and whose weights are not yet read. */
export interface FoundModel {
  readonly choice: ModelChoice;
  readonly name: string;
  readonly opened: OpenedModel;
  readonly tokenizerFiles: TokenizerFiles;
}

type Progress = (text: string, fraction: number | null) => void;

/** Finds and checks a model's files. Close `opened`, or give it to `loadFound`. @throws what is wrong with a file, by its own error. */
export async function findModel(choice: ModelChoice, file: File | null, onProgress: Progress): Promise<FoundModel> {
  switch (choice.kind) {
    case 'quickstart': {
      const files = await quickstartFiles(onProgress);
      return { choice, name: 'quickstart', ...(await openBoth(files)) };
    }
    case 'gguf': {
      const kept = await ggufFile(choice.name, file, onProgress);
      const tokenizerFiles = await ggufTokenizerFiles(sourceOfBlob(kept, choice.name));
      const opened = await openGgufModel(sourceOfBlob(kept, choice.name));
      return { choice, name: choice.name.replace(/\.gguf$/i, ''), opened, tokenizerFiles };
    }
    case 'hub':
      throw new PageError('Models from the hub cannot be loaded by this page.');
  }
}

/** Reads the weights to the active backend, and closes the files. */
export async function loadFound(found: FoundModel, onProgress: Progress): Promise<LoadedModel> {
  const { choice, name, opened, tokenizerFiles } = found;
  try {
    const tokenizer = createTokenizer(tokenizerFiles);
    checkVocabulary(tokenizer, opened.config.vocabSize);
    const model = await LlamaForCausalLM.fromWeights(opened.config, opened.weights, {
      onProgress: (loaded, total) => onProgress('Reading weights', loaded / total),
    });
    return { choice, name, model, tokenizer, tokenizerFiles };
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

/** The dropped file, kept so that a run on it can go on after a reload; without a file, the one that was kept. */
async function ggufFile(name: string, file: File | null, onProgress: Progress): Promise<Blob> {
  const folder = await makeFolder('gguf');
  if (file === null) {
    const kept = await orNull(folder.getFileHandle('model.gguf'));
    if (kept === null) {
      throw new PageError(`The file ${name} is no longer kept here; drop it on the page again, and start a new run.`);
    }
    return kept.getFile();
  }
  // Looked at first: what is no model is not copied.
  const opened = await openGgufModel(sourceOfBlob(file, name));
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
