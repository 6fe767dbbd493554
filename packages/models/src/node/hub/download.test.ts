import { createHash } from 'node:crypto';
import { lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { COMMIT, cut, HubServer } from '../../../test/hub-server.js';
import { HubError } from '../../hub/hub-error.js';
import { isRepoId } from '../../hub/repo-id.js';
import { type DownloadOptions, type DownloadProgress, downloadDataset, downloadModel } from './download.js';
import { cacheDirOf, endpointOf, isOffline, tokenOf } from './environment.js';

const weights = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7919) >> 5));
const files = {
  'README.md': Buffer.from('# tiny'),
  'config.json': Buffer.from('{"model_type":"llama"}'),
  'tokenizer.json': Buffer.from('{}'),
  'additional_chat_templates/tool_use.jinja': Buffer.from('tools'),
  'model.safetensors': weights,
  'model-00001-of-00002.safetensors': Buffer.from('twice'),
  'original/consolidated.00.pth': Buffer.from('x'),
};
const sha256 = createHash('sha256').update(weights).digest('hex');

let root: string;
let hub: HubServer;
let count = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'spft-hub-'));
});
afterAll(() => rm(root, { recursive: true }));
let cacheDir: string;
beforeEach(async () => {
  hub = await new HubServer({ ...files }).start();
  cacheDir = join(root, String(count++));
});
afterEach(() => hub.stop());

const download = (more: DownloadOptions = {}, id = 'acme/tiny') =>
  downloadModel(id, { endpoint: hub.endpoint, cacheDir, env: { HF_HOME: root }, retryDelayMs: 1, ...more });
const folder = () => join(cacheDir, 'models--acme--tiny');
/** Not `toEqual`, which takes seconds for a large buffer. */
const expectWeights = async (snapshot: string) =>
  expect(Buffer.compare(await readFile(join(snapshot, 'model.safetensors')), weights)).toBe(0);
const got = (start: string) => hub.requests.filter((r) => r.startsWith(start));
const isWeights = (request: { url?: string; method?: string }) =>
  request.url === '/model.safetensors' && request.method === 'GET';

describe('downloadModel()', () => {
  it('fills the cache as huggingface_hub does, with what a model needs and nothing else', async () => {
    const snapshot = await download();
    expect(snapshot).toBe(join(folder(), 'snapshots', COMMIT));
    expect((await readdir(snapshot, { recursive: true })).sort()).toEqual([
      'additional_chat_templates',
      'additional_chat_templates/tool_use.jinja',
      'config.json',
      'model.safetensors',
      'tokenizer.json',
    ]);
    await expectWeights(snapshot);
    expect(await readlink(join(snapshot, 'model.safetensors'))).toBe(join('..', '..', 'blobs', sha256));
    expect(await readFile(join(snapshot, 'additional_chat_templates/tool_use.jinja'), 'utf8')).toBe('tools');
    expect(await readFile(join(folder(), 'refs', 'main'), 'utf8')).toBe(COMMIT);
    expect((await readdir(join(folder(), 'blobs'))).filter((f) => f.includes('.'))).toEqual([]);
  });

  it('fetches nothing again that is there', async () => {
    await download();
    hub.requests.length = 0;
    await download();
    expect(hub.requests).toEqual(['GET /api/models/acme/tiny/revision/main']);
  });

  it('tells its progress', async () => {
    const seen: DownloadProgress[] = [];
    await download({ onProgress: (p) => seen.push(p) });
    expect(seen.at(-1)).toEqual({
      file: 'model.safetensors',
      fileIndex: 3,
      files: 4,
      receivedBytes: weights.length,
      fileBytes: weights.length,
    });
    const bytes = seen.filter((p) => p.file === 'model.safetensors').map((p) => p.receivedBytes);
    expect(bytes[0]).toBe(0);
    expect(bytes).toEqual([...bytes].sort((a, b) => a - b));
  });

  it('asks for a revision and remembers where it led', async () => {
    await download({ revision: 'refs/pr/1' });
    expect(hub.requests[0]).toBe('GET /api/models/acme/tiny/revision/refs%2Fpr%2F1');
    expect(await readFile(join(folder(), 'refs', 'refs', 'pr', '1'), 'utf8')).toBe(COMMIT);
  });

  it('fetches the files that are asked for', async () => {
    const snapshot = await download({ allowPatterns: ['*.md', 'original/*'] });
    expect((await readdir(snapshot, { recursive: true })).sort()).toEqual([
      'README.md',
      'original',
      'original/consolidated.00.pth',
    ]);
    await expect(download({ allowPatterns: ['*.gguf'] })).rejects.toThrow('none of its 7 files matches *.gguf');
  });

  it('fetches shards where there is no single file', async () => {
    delete (hub.files as Partial<typeof files>)['model.safetensors'];
    hub.files['model.safetensors.index.json'] = Buffer.from('{}');
    expect(await readdir(await download())).toEqual(
      expect.arrayContaining(['model-00001-of-00002.safetensors', 'model.safetensors.index.json']),
    );
  });

  it('sends the token to the hub and not to the storage', async () => {
    await download({ token: 'hf_secret' });
    expect(new Set(hub.tokens)).toEqual(new Set(['Bearer hf_secret']));
    expect(hub.storageTokens).toEqual([undefined]);
  });

  it('follows a renamed repository on the same host', async () => {
    hub.fault = (request, response) => {
      if (!request.url!.startsWith('/old/name')) return false;
      response.writeHead(307, { location: request.url!.replace('/old/name', '/acme/tiny') }).end();
      return true;
    };
    const api = hub.fault;
    hub.fault = (request, response, seen) => {
      request.url = request.url!.replace('/api/models/old/name', '/api/models/acme/tiny');
      return api(request, response, seen);
    };
    const snapshot = await download({}, 'old/name');
    expect(await readFile(join(snapshot, 'config.json'), 'utf8')).toBe('{"model_type":"llama"}');
  });

  it('goes on where a connection was cut', async () => {
    hub.fault = (request, response, seen) => isWeights(request) && seen === 1 && cut(response, weights, 100_000);
    const snapshot = await download();
    await expectWeights(snapshot);
    expect(got('STORAGE')).toEqual(['STORAGE /model.safetensors', 'STORAGE /model.safetensors bytes=100000-']);
  });

  it('goes on in a later run after a hub that kept stopping midway, with what came kept', async () => {
    hub.fault = (request, response) => isWeights(request) && cut(response, weights, 60_000);
    hub.supportsRanges = false;
    const failing = download({ retries: 2 });
    await expect(failing).rejects.toThrow(HubError);
    await expect(failing).rejects.toThrow(
      /acme\/tiny: model\.safetensors: the connection broke after 60000 bytes .*, 3 times in a row; what is downloaded is kept: run it again to go on/,
    );
    expect((await stat(join(folder(), 'blobs', `${sha256}.incomplete`))).size).toBe(60_000);
    await expect(lstat(join(folder(), 'refs', 'main'))).rejects.toThrow('ENOENT');
    hub.fault = () => false;
    hub.supportsRanges = true;
    hub.requests.length = 0;
    await expectWeights(await download());
    expect(got('STORAGE')).toEqual(['STORAGE /model.safetensors bytes=60000-']);
  });

  it('starts anew where the server ignores ranges', async () => {
    hub.supportsRanges = false;
    hub.fault = (request, response, seen) => isWeights(request) && seen === 1 && cut(response, weights, 100_000);
    const snapshot = await download();
    await expectWeights(snapshot);
  });

  it('starts anew where the part that is there is not of this file', async () => {
    await mkdir(join(folder(), 'blobs'), { recursive: true });
    for (const size of [1000, weights.length, weights.length + 5]) {
      await writeFile(join(folder(), 'blobs', `${sha256}.incomplete`), Buffer.alloc(size));
      const snapshot = await download();
      await expectWeights(snapshot);
      await rm(folder(), { recursive: true });
      await mkdir(join(folder(), 'blobs'), { recursive: true });
    }
  });

  it('takes a whole part that an earlier run had no time to put in place', async () => {
    await mkdir(join(folder(), 'blobs'), { recursive: true });
    await writeFile(join(folder(), 'blobs', `${sha256}.incomplete`), weights);
    await download();
    expect(got('STORAGE')).toEqual([]);
  });

  it('refuses a file that does not have the hash that was announced', async () => {
    hub.fault = (request, response) => {
      if (!isWeights(request)) return false;
      response.end(Buffer.alloc(weights.length));
      return true;
    };
    await expect(download({ retries: 1 })).rejects.toThrow(/what came has the hash \w{64}, \w{64} was announced/);
    expect((await readdir(join(folder(), 'blobs'))).some((f) => f.startsWith(sha256))).toBe(false);
  });

  it('waits out a 500, a 429 and a 503', async () => {
    const answers = [500, 429, 503];
    hub.fault = (request, response, seen) => {
      if (!request.url!.startsWith('/api/') || seen > 3) return false;
      response.writeHead(answers[seen - 1]!, { 'retry-after': '0' }).end();
      return true;
    };
    await download();
    expect(got('GET /api')).toHaveLength(4);
  });

  it('gives up a hub that only answers 500, and says what to do', async () => {
    hub.fault = (_, response) => {
      response.writeHead(500).end();
      return true;
    };
    const failing = download({ retries: 2 });
    await expect(failing).rejects.toMatchObject({ name: 'HubError', code: 'SPFT_HUB', status: 500 });
    await expect(failing).rejects.toThrow(
      'acme/tiny: the hub answers 500 Internal Server Error, 3 times in a row; what is downloaded is kept: run it again to go on, or set HF_HUB_OFFLINE=1',
    );
  });

  it('gives up a server that sends nothing more', async () => {
    hub.fault = (request, response) => {
      if (!isWeights(request)) return false;
      response.setHeader('content-length', weights.length);
      response.write(weights.subarray(0, 10));
      return true;
    };
    await expect(download({ retries: 0, idleTimeoutMs: 100 })).rejects.toThrow('the connection broke after 10 bytes');
  });

  it('says that nothing answers', async () => {
    await expect(download({ endpoint: 'http://127.0.0.1:9', retries: 1 })).rejects.toThrow(
      'acme/tiny: no answer from http://127.0.0.1:9 (',
    );
  });

  it.each<[string, number, Record<string, string>, string | undefined, string]>([
    [
      '401 without a token',
      401,
      {},
      undefined,
      'refuses (401): there is no such repository, or it is private or gated; check the name, or give an access token: HF_TOKEN',
    ],
    [
      '401 with a token',
      401,
      {},
      'hf_x',
      'refuses (401): the access token is wrong or expired, or there is no such repository; check HF_TOKEN',
    ],
    ['a gated repository', 403, { 'x-error-code': 'GatedRepo' }, 'hf_x', "/acme/tiny with the token's account"],
    [
      'a gated repository without a token',
      401,
      { 'x-error-code': 'GatedRepo' },
      undefined,
      'may not be read without an account (401); accept its terms at http://127.0.0.1',
    ],
    ['404', 404, {}, undefined, 'the hub has no such repository or revision (404); check the name'],
    [
      'a missing revision',
      404,
      { 'x-error-code': 'RevisionNotFound' },
      undefined,
      "the hub has no revision 'main' of it (404)",
    ],
    ['another refusal', 418, {}, undefined, 'the hub answers 418; check the endpoint (HF_ENDPOINT)'],
  ])('says what to do about %s, at once', async (_, status, headers, token, message) => {
    hub.fault = (_request, response) => {
      response.writeHead(status, headers).end();
      return true;
    };
    const failing = download({ token });
    await expect(failing).rejects.toMatchObject({ name: 'HubError', code: 'SPFT_HUB', status });
    await expect(failing).rejects.toThrow(message);
    expect(hub.requests).toHaveLength(1);
  });

  it('names a file that the hub does not give', async () => {
    hub.fault = (request, response) => {
      if (!request.url!.endsWith('tokenizer.json')) return false;
      response.writeHead(404).end();
      return true;
    };
    await expect(download()).rejects.toThrow(
      "acme/tiny: tokenizer.json: the repository has no such file at revision 'main' (404)",
    );
  });

  it('says that a repository has no safetensors', async () => {
    for (const name of Object.keys(hub.files)) if (name.endsWith('.safetensors')) delete hub.files[name];
    hub.files['pytorch_model.bin'] = Buffer.from('x');
    await expect(download()).rejects.toThrow(
      'acme/tiny: has no weights as model.safetensors (it has original/consolidated.00.pth, pytorch_model.bin)',
    );
  });

  it('refuses names that lead out of the cache', async () => {
    for (const name of ['../outside', '/etc/passwd', 'a/../../b', 'a\\..\\b']) {
      hub.files[name] = Buffer.from('x');
      await expect(download()).rejects.toThrow('leads out of the cache');
      delete hub.files[name];
    }
    await expect(download({}, '../tiny')).rejects.toThrow("'../tiny' is no id of a repository");
    await expect(download({ revision: '../../x' })).rejects.toThrow("'../../x' is no revision");
  });

  it('says that the answer is none of a hub', async () => {
    hub.fault = (_, response) => {
      response.end('{"hello":1}');
      return true;
    };
    await expect(download()).rejects.toThrow('names no commit and files; check the endpoint (HF_ENDPOINT)');
    hub.fault = (_, response) => {
      response.end('<html>');
      return true;
    };
    await expect(download({ retries: 0 })).rejects.toThrow("the hub's answer is no JSON");
  });

  it('uses what is in the cache while offline, and nothing else', async () => {
    const snapshot = await download();
    hub.requests.length = 0;
    expect(await download({ env: { HF_HUB_OFFLINE: '1' } })).toBe(snapshot);
    expect(await download({ offline: true, revision: COMMIT })).toBe(snapshot);
    await expect(download({ offline: true, revision: 'v2' })).rejects.toThrow(
      `acme/tiny: revision 'v2' is not in the cache (${folder()})`,
    );
    await expect(download({ offline: true }, 'acme/other')).rejects.toThrow(HubError);
    expect(hub.requests).toEqual([]);
  });
});

describe('downloadDataset()', () => {
  it('fetches all files of a data set', async () => {
    const data = await new HubServer(
      { 'data/train.json': Buffer.from('[]') },
      'acme/sums',
      () => false,
      'datasets',
    ).start();
    const snapshot = await downloadDataset('acme/sums', { endpoint: data.endpoint, cacheDir, env: { HF_HOME: root } });
    await data.stop();
    expect(snapshot).toBe(join(cacheDir, 'datasets--acme--sums', 'snapshots', COMMIT));
    expect(await readFile(join(snapshot, 'data/train.json'), 'utf8')).toBe('[]');
  });
});

describe('the environment', () => {
  it('says where the cache is', () => {
    expect(cacheDirOf('/x', { HF_HUB_CACHE: '/a' })).toBe('/x');
    expect(cacheDirOf(undefined, { HF_HUB_CACHE: '/a', HUGGINGFACE_HUB_CACHE: '/b', HF_HOME: '/c' })).toBe('/a');
    expect(cacheDirOf(undefined, { HUGGINGFACE_HUB_CACHE: '/b', HF_HOME: '/c' })).toBe('/b');
    expect(cacheDirOf(undefined, { HF_HOME: '/c' })).toBe(join('/c', 'hub'));
    expect(cacheDirOf(undefined, { XDG_CACHE_HOME: '/d' })).toBe(join('/d', 'huggingface', 'hub'));
    expect(cacheDirOf(undefined, {})).toMatch(/\.cache.huggingface.hub$/);
  });

  it('says which hub, and whether it may be asked', () => {
    expect(endpointOf(undefined, {})).toBe('https://huggingface.co');
    expect(endpointOf(undefined, { HF_ENDPOINT: 'https://mirror/' })).toBe('https://mirror');
    expect(isOffline({ HF_HUB_OFFLINE: 'ON' })).toBe(true);
    expect(isOffline({ TRANSFORMERS_OFFLINE: '1' })).toBe(true);
    expect(isOffline({ HF_HUB_OFFLINE: '0' })).toBe(false);
  });

  it('says with which token', async () => {
    const home = join(root, 'home');
    await mkdir(home);
    expect(await tokenOf(undefined, { HF_HOME: home })).toBeUndefined();
    await writeFile(join(home, 'token'), 'hf_file\n');
    expect(await tokenOf(undefined, { HF_HOME: home })).toBe('hf_file');
    expect(await tokenOf(undefined, { HF_TOKEN_PATH: join(home, 'token'), HF_HOME: '/none' })).toBe('hf_file');
    expect(await tokenOf(undefined, { HF_HOME: home, HF_TOKEN: 'hf_env' })).toBe('hf_env');
    expect(await tokenOf('hf_option', { HF_TOKEN: 'hf_env' })).toBe('hf_option');
    expect(await tokenOf(false, { HF_TOKEN: 'hf_env' })).toBeUndefined();
    expect(await tokenOf(undefined, { HF_HOME: home, HF_HUB_DISABLE_IMPLICIT_TOKEN: '1' })).toBeUndefined();
  });

  it('tells ids of repositories from other names', () => {
    for (const id of ['gpt2', 'HuggingFaceTB/SmolLM2-135M', 'a/b_c.d']) expect(isRepoId(id), id).toBe(true);
    for (const id of ['', '/a', 'a/', './a', 'a/b/c', 'a b', '../a', 'a--b', 'a/b.', 'C:\\x'])
      expect(isRepoId(id), id).toBe(false);
  });
});
