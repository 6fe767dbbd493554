/** @file GGUF files on a disk. */
import { open } from 'node:fs/promises';
import { openGgufBytes } from '@spft/gguf/node';
import type { ByteSource } from '@spft/safetensors';
import { ggufTokenizerFiles } from '../../gguf/open-gguf.js';
import type { TokenizerFiles } from '../../tokenizer/hugging-face-tokenizer.js';

/** Whether a file is a GGUF file by its first four bytes; false where there is no file. */
export async function isGgufFile(path: string): Promise<boolean> {
  const handle = await open(path, 'r').catch(() => null);
  if (handle === null) return false;
  try {
    const { buffer, bytesRead } = await handle
      .read(new Uint8Array(4), 0, 4, 0)
      .catch(() => ({ buffer: null, bytesRead: 0 }));
    return bytesRead === 4 && String.fromCharCode(...buffer!) === 'GGUF';
  } finally {
    await handle.close();
  }
}

/** A GGUF file's bytes. Close it when done. @throws GgufError when it cannot be opened. */
export const ggufSource = (path: string): Promise<ByteSource> => openGgufBytes(path);

/** The tokenizer's files that a GGUF file stands for. @throws GgufError or ModelError when it has no tokenizer that can be used here. */
export async function readGgufTokenizer(path: string): Promise<TokenizerFiles> {
  const source = await ggufSource(path);
  try {
    return await ggufTokenizerFiles(source);
  } finally {
    await source.close();
  }
}
