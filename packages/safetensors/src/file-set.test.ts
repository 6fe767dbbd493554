import { describe, expect, it } from 'vitest';
import { filesInMemory, readText, sourceOfBlob } from './file-set.js';
import { openModelWeights } from './open-model.js';
import { serializeSafetensors } from './serialize.js';

const text = (content: string) => new TextEncoder().encode(content);
const shard = (...names: string[]) =>
  serializeSafetensors(
    Object.fromEntries(names.map((name) => [name, { dtype: 'F32' as const, shape: [2], data: Float32Array.of(1, 2) }])),
  );

describe('filesInMemory()', () => {
  const files = filesInMemory(
    'mine',
    new Map([
      ['a.txt', text('ä')],
      ['sub/b.txt', text('b')],
      ['sub/deep/c.txt', text('c')],
    ]),
  );

  it('opens files by name and lists folders', async () => {
    expect(await readText(files, 'a.txt')).toBe('ä');
    expect(await readText(files, 'sub/b.txt')).toBe('b');
    expect(await readText(files, 'b.txt')).toBeNull();
    expect([await files.list(''), await files.list('sub'), await files.list('none')]).toEqual([
      ['a.txt'],
      ['b.txt'],
      [],
    ]);
  });

  it('refuses a text that is none', async () => {
    await expect(readText(files, 'a.txt', 1)).rejects.toThrow(
      'mine/a.txt: is 2 bytes long, of a text at most 1 are read',
    );
  });
});

describe('openModelWeights()', () => {
  const index = text(JSON.stringify({ weight_map: { x: 'one.safetensors', y: 'two.safetensors' } }));

  it('reads one file, or shards, of whatever holds them', async () => {
    const single = filesInMemory('m', new Map([['model.safetensors', shard('x')]]));
    expect((await openModelWeights(single)).names).toEqual(['x']);
    const contents = new Map([
      ['one.safetensors', shard('x')],
      ['two.safetensors', shard('y')],
    ]);
    const blobs = {
      ...filesInMemory('m', new Map()),
      open: async (file: string) =>
        file === 'model.safetensors.index.json'
          ? sourceOfBlob(new Blob([index]), file)
          : contents.has(file)
            ? sourceOfBlob(new Blob([contents.get(file)! as Uint8Array<ArrayBuffer>]), file)
            : null,
    };
    const file = await openModelWeights(blobs);
    expect(file.names).toEqual(['x', 'y']);
    expect(await file.float32('y')).toEqual(Float32Array.of(1, 2));
  });

  it('closes what it opened where a shard is missing, is damaged, or there are no weights', async () => {
    let open = 0;
    const counted = (contents: Map<string, Uint8Array>) => {
      const files = filesInMemory('m', contents);
      return {
        ...files,
        async open(file: string) {
          const source = await files.open(file);
          if (source) open++;
          return source && { ...source, close: async () => void open-- };
        },
      };
    };
    const whole = new Map([
      ['model.safetensors.index.json', index],
      ['one.safetensors', shard('x')],
    ]);
    await expect(openModelWeights(counted(whole))).rejects.toThrow(
      "names the shard 'two.safetensors', which is not there",
    );
    const cut = new Map([...whole, ['two.safetensors', shard('y').subarray(0, 40)] as const]);
    await expect(openModelWeights(counted(cut))).rejects.toThrow('m/two.safetensors: ');
    await expect(openModelWeights(counted(new Map()))).rejects.toThrow('m: wanted model.safetensors or');
    expect(open).toBe(0);
  });
});
