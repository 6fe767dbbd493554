import { readdir, readFile } from 'node:fs/promises';
import { writeGgufTo } from '@spft/gguf';
import { filesInMemory, sourceOfBytes } from '@spft/safetensors';
import { beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../../../test/support/backends.js';
import { ggufOfModel } from './gguf/gguf-content.js';
import { ggufTokenizerFiles } from './gguf/open-gguf.js';
import { LlamaForCausalLM } from './llama.js';
import { loadTokenizer, openModelDirectory } from './node/index.js';
import { openGgufModel, openModel } from './open-model.js';
import { createTokenizer } from './tokenizer/hugging-face-tokenizer.js';
import { readTokenizerFiles } from './tokenizer/read-tokenizer-files.js';

const BASE = 'examples/quickstart/base';

async function contentsOf(dir: string): Promise<Map<string, Uint8Array>> {
  const names = await readdir(dir);
  return new Map(await Promise.all(names.map(async (name) => [name, await readFile(`${dir}/${name}`)] as const)));
}

describe('openModel()', () => {
  beforeAll(() => useBackend('cpu'));

  it('opens files in memory as a directory is opened', async () => {
    const files = filesInMemory('memory', await contentsOf(BASE));
    const [here, there] = [await openModel(files), await openModelDirectory(BASE)];
    expect(here.config).toEqual(there.config);
    expect(here.weights.names).toEqual(there.weights.names);
    expect(await here.weights.bytes('model.norm.weight')).toEqual(await there.weights.bytes('model.norm.weight'));
    const text = 'Ella has 11 eggs.';
    const tokenizer = createTokenizer(await readTokenizerFiles(files));
    expect(tokenizer.encode(text)).toEqual((await loadTokenizer(BASE)).encode(text));
    await Promise.all([here.close(), there.close()]);
  });

  it('refuses what a directory would be refused for', async () => {
    const contents = await contentsOf(BASE);
    const opened = (change: (all: Map<string, Uint8Array>) => void) => {
      const changed = new Map(contents);
      change(changed);
      return openModel(filesInMemory('memory', changed));
    };
    await expect(opened((all) => all.delete('config.json'))).rejects.toThrow(
      'memory: wanted config.json in it, found none',
    );
    const weights = contents.get('model.safetensors')!;
    await expect(opened((all) => all.set('model.safetensors', weights.subarray(0, -1)))).rejects.toThrow(
      'memory/model.safetensors: ',
    );
    const config = { ...JSON.parse(Buffer.from(contents.get('config.json')!).toString()), intermediate_size: 999 };
    await expect(opened((all) => all.set('config.json', Buffer.from(JSON.stringify(config))))).rejects.toThrow(
      'memory: the weights do not fit config.json',
    );
  });

  it('opens the GGUF file that ggufOfModel() lets write, and compare() sees a byte that differs', async () => {
    const files = filesInMemory('memory', await contentsOf(BASE));
    const opened = await openModel(files);
    const model = await LlamaForCausalLM.fromWeights(opened.config, opened.weights);
    const content = ggufOfModel(model, await readTokenizerFiles(files), { type: 'f16' });
    const whole = new Uint8Array(2 ** 24);
    const bytes = await writeGgufTo({ write: (part, at) => whole.set(part, at) }, content.metadata, content.tensors);
    const file = whole.subarray(0, bytes);
    const { openGgufSource } = await import('@spft/gguf');
    await content.compare(await openGgufSource(sourceOfBytes(file, 'a.gguf')), 'a.gguf');
    const read = await openGgufModel(sourceOfBytes(file, 'a.gguf'));
    expect(read.config.hiddenSize).toBe(model.config.hiddenSize);
    const tokenizer = createTokenizer(await ggufTokenizerFiles(sourceOfBytes(file, 'a.gguf')));
    expect(tokenizer.vocabSize).toBe(createTokenizer(await readTokenizerFiles(files)).vocabSize);
    file[bytes - 64]! ^= 1;
    await expect(content.compare(await openGgufSource(sourceOfBytes(file)), 'a.gguf')).rejects.toThrow(
      /a\.gguf: tensor '.*' is not read as it was written/,
    );
    model.dispose();
  });
});
