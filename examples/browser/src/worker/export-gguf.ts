/** @file The tuned model, or the adapter alone, as a GGUF file in the page's storage: written, read again and compared before it is given out. */
import { openGgufSource, writeGgufTo } from '@spft/gguf';
import { type GgufContent, ggufOfAdapter, ggufOfModel } from '@spft/models';
import { sourceOfBlob } from '@spft/safetensors';
import type { TunedModel } from '../engine/tuned-model.js';
import { makeFolder, openForWriting, removeIfThere, writeAll } from '../storage/opfs.js';
import type { LoadedModel } from './load-model.js';

const FOLDER = 'exports';

/**
 * The base with the adapters in it.
 * @throws ModelError when llama.cpp has no such model or tokenizer; a QuotaExceededError when the storage does not take the file.
 */
export async function mergedGguf(
  { model, name, tokenizerFiles }: LoadedModel,
  peft: TunedModel,
  type: 'f16' | 'q8_0',
  onProgress: (fraction: number) => void,
): Promise<{ file: Blob; name: string; notices: readonly string[] }> {
  const shortName = name.split('/').at(-1)!;
  const fileName = `${shortName}-tuned-${type}.gguf`;
  peft.merge();
  try {
    const content = ggufOfModel(model, tokenizerFiles, {
      type,
      name: `${shortName} tuned`,
      onProgress: (written, total) => onProgress(written / total),
    });
    return { file: await write(fileName, content), name: fileName, notices: content.notices };
  } finally {
    peft.unmerge();
  }
}

/** For `llama-cli --lora`, over the base. */
export async function adapterGguf({ name }: LoadedModel, peft: TunedModel): Promise<{ file: Blob; name: string }> {
  const fileName = `${name.split('/').at(-1)!}-adapter.gguf`;
  return { file: await write(fileName, ggufOfAdapter(peft)), name: fileName };
}

/** What was exported before goes: the visitor has it. */
async function write(name: string, { metadata, tensors, compare }: GgufContent): Promise<Blob> {
  await removeIfThere(await makeFolder(), FOLDER);
  const folder = await makeFolder(FOLDER);
  const handle = await openForWriting(folder, name);
  try {
    await writeGgufTo({ write: (bytes, at) => writeAll(handle, bytes, at) }, metadata, tensors, name);
    handle.flush();
  } catch (error) {
    handle.close();
    await removeIfThere(folder, name);
    throw error;
  }
  handle.close();
  const file = await (await folder.getFileHandle(name)).getFile();
  try {
    await compare(await openGgufSource(sourceOfBlob(file, name)), name);
  } catch (error) {
    await removeIfThere(folder, name);
    throw error;
  }
  return file;
}
