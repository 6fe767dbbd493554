/**
 * @file Writing a model, or an adapter alone, as a GGUF file for llama.cpp. The complete file is opened as any other would be and compared, tensor by
 * tensor, with what was meant, before it takes its place.
 */
import { openGguf, writeGguf } from '@spft/gguf/node';
import type { PeftModel } from '@spft/peft';
import { assertKnownOptions } from '@spft/safetensors/internals';
import type { ExportableModel, ExportType } from '../../gguf/export-tensors.js';
import {
  GGUF_CONTENT_OPTIONS,
  type GgufContent,
  type GgufContentOptions,
  ggufOfAdapter,
  ggufOfModel,
} from '../../gguf/gguf-content.js';
import { readTokenizerFiles } from '../load-tokenizer.js';

export interface SaveGgufOptions extends GgufContentOptions<ExportType> {
  /** Where the tokenizer is: a model directory, or a GGUF file. */
  readonly source: string;
}

/**
 * Writes a model with its tokenizer. A file that was there before stays until the new one is complete and compared.
 * @returns what a person should know of it.
 * @throws ModelError when llama.cpp cannot compute the model or has no such tokenizer, or a type cannot hold its values; GgufError when the disk does not
 * take the file.
 */
export async function saveGguf(
  path: string,
  model: ExportableModel,
  given: SaveGgufOptions,
): Promise<readonly string[]> {
  assertKnownOptions('saveGguf', given, { ...GGUF_CONTENT_OPTIONS, source: true });
  const { source, ...options } = given;
  const content = ggufOfModel(model, await readTokenizerFiles(source), options);
  await writeCompared(path, content);
  return content.notices;
}

export type SaveGgufAdapterOptions = GgufContentOptions<'f32' | 'f16' | 'bf16'>;

/**
 * Writes an adapter alone, for `llama-cli --lora` and the like over its base.
 * @throws ModelError when it is more than LoRA; GgufError when the disk does not take the file.
 */
export async function saveGgufAdapter(
  path: string,
  peft: PeftModel<ExportableModel & PeftModel['base']>,
  options: SaveGgufAdapterOptions = {},
): Promise<void> {
  assertKnownOptions('saveGgufAdapter', options, GGUF_CONTENT_OPTIONS);
  await writeCompared(path, ggufOfAdapter(peft, options));
}

/** Writes, and before the file takes its place reads it again. */
async function writeCompared(path: string, { metadata, tensors, compare }: GgufContent): Promise<void> {
  await writeGguf(path, metadata, tensors, {
    check: async (temporary) => {
      const file = await openGguf(temporary);
      try {
        await compare(file, path);
      } finally {
        await file.close();
      }
    },
  });
}
