import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { COMMIT, cut, HubServer } from '../../test/hub-server.js';
import type { PartialFile } from './fetch-file.js';
import { type FetchModelOptions, fetchModelFiles, type ModelStore } from './fetch-model.js';
import { HubError } from './hub-error.js';

const FILES = {
  'config.json': Buffer.from('{"model_type":"llama"}'),
  'model.safetensors': Buffer.alloc(300_000, 7),
  'model.bin': Buffer.from('not needed'),
  'additional_chat_templates/tool.jinja': Buffer.from('{{ messages }}'),
};

/** A store in memory, as a page's might be. */
class MemoryStore implements ModelStore {
  readonly contents = new Map<string, Buffer>();
  readonly whole = new Map<string, string>();
  failing = false;

  async has(file: string, { etag }: { etag: string }): Promise<boolean> {
    return this.whole.get(file) === etag;
  }

  async complete(file: string, { etag }: { etag: string }): Promise<void> {
    this.whole.set(file, etag);
  }

  async partial(file: string): Promise<PartialFile> {
    const { contents } = this;
    const store = this;
    return {
      size: async () => contents.get(file)?.length ?? 0,
      async open(from) {
        contents.set(file, (contents.get(file) ?? Buffer.alloc(0)).subarray(0, from));
        return {
          async append(bytes) {
            if (store.failing) throw new DOMException('no room', 'QuotaExceededError');
            contents.set(file, Buffer.concat([contents.get(file)!, bytes]));
          },
          sync: async () => {},
          close: async () => {},
        };
      },
      async *chunks() {
        yield contents.get(file)!;
      },
      remove: async () => void contents.delete(file),
      isStorageError: (error) => error instanceof DOMException,
      hash(algorithm) {
        const hash = createHash(algorithm);
        return { update: (bytes) => hash.update(bytes), hex: () => hash.digest('hex') };
      },
    };
  }
}

let hub: HubServer;
let store: MemoryStore;
beforeEach(async () => {
  hub = await new HubServer({ ...FILES }).start();
  store = new MemoryStore();
});
afterEach(() => hub.stop());

const fetched = (more: Partial<FetchModelOptions> = {}) =>
  fetchModelFiles('acme/tiny', {
    endpoint: hub.endpoint,
    store: async () => store,
    retries: 1,
    retryDelayMs: 1,
    ...more,
  });

describe('fetchModelFiles()', () => {
  it('fetches what a model needs, small files first, and nothing twice', async () => {
    const there: string[] = [];
    expect(await fetched({ onFile: async (file) => void there.push(file) })).toBe(COMMIT);
    const wanted = ['config.json', 'additional_chat_templates/tool.jinja', 'model.safetensors'];
    expect(there).toEqual(wanted);
    for (const file of wanted) expect(store.contents.get(file)).toEqual(FILES[file as keyof typeof FILES]);
    // No HEAD, whose redirect a browser would not show.
    expect(hub.requests.filter((request) => request.startsWith('HEAD'))).toEqual([]);
    const asked = hub.requests.length;
    await fetched();
    expect(hub.requests.length).toBe(asked + 1);
  });

  it('goes on where a connection broke, and where an earlier call was ended', async () => {
    hub.fault = (request, response, seen) =>
      request.url === '/model.safetensors' && seen === 1 && cut(response, FILES['model.safetensors'], 100_000);
    await fetched();
    expect(hub.requests.filter((request) => request.startsWith('STORAGE'))).toEqual([
      'STORAGE /model.safetensors',
      expect.stringMatching(/^STORAGE \/model\.safetensors bytes=\d{5,6}-$/),
    ]);
    expect(store.contents.get('model.safetensors')).toEqual(FILES['model.safetensors']);
    const ended = fetched({
      onFile: async (file) => {
        if (file === 'config.json') throw new RangeError('too little memory');
      },
    });
    await expect(ended).rejects.toThrow('too little memory');
  });

  it('gives up what has another hash, in words of its own, and never takes it for whole', async () => {
    hub.fault = (request, response) => {
      if (request.url !== '/model.safetensors') return false;
      response.end(Buffer.alloc(300_000, 8));
      return true;
    };
    const failing = fetched({ advice: { again: 'press Train again', token: 'none' } });
    await expect(failing).rejects.toThrow(HubError);
    await expect(failing).rejects.toThrow(
      /model\.safetensors: what came has the hash .*2 times in a row; .*: press Train again$/,
    );
    expect([store.whole.has('model.safetensors'), store.contents.has('model.safetensors')]).toEqual([false, false]);
  });

  it('lets the storage’s own errors through at once', async () => {
    store.failing = true;
    await expect(fetched()).rejects.toThrow('no room');
    expect(hub.requests.filter((request) => request.includes('/resolve/'))).toHaveLength(1);
  });

  it('says which repository there is not, and what is no id', async () => {
    await expect(fetchModelFiles('acme/none', { endpoint: hub.endpoint, store: async () => store })).rejects.toThrow(
      'acme/none: ',
    );
    await expect(fetchModelFiles('../x', { store: async () => store })).rejects.toThrow(
      "'../x' is no id of a repository",
    );
  });
});
