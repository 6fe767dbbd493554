import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HubError } from '@spft/models/node';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { HubServer } from '../../../../models/test/hub-server.js';
import { parseHubDataset } from './data-directory.js';
import { loadDataset } from './dataset.js';

const fixtures = fileURLToPath(new URL('../../../test/fixtures/', import.meta.url));
const README = `---
configs:
- config_name: chat
  data_files:
  - split: train
    path: chat/train-*
  default: true
- config_name: plain
  data_files: plain.jsonl
---
# Chats`;

let directory: string;
let hub: HubServer;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'spft-hubdata-'));
  const files = {
    'README.md': Buffer.from(README),
    'chat/train-00000-of-00001.parquet': await readFile(join(fixtures, 'messages.zstd.parquet')),
    'plain.jsonl': Buffer.from('{"instruction": "i", "output": "o"}\n'),
    'other.bin': Buffer.from('not asked for'),
  };
  hub = await new HubServer(files, 'acme/chats', (name) => name.endsWith('.parquet'), 'datasets').start();
  vi.stubEnv('HF_ENDPOINT', hub.endpoint);
  vi.stubEnv('HF_HOME', directory);
  vi.stubEnv('HF_HUB_CACHE', '');
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await hub.stop();
  await rm(directory, { recursive: true });
});

describe('loadDataset() of a data set on the hub', () => {
  it('downloads the files of one split as its README says, and nothing twice', async () => {
    const { records } = await loadDataset('acme/chats');
    expect(records).toHaveLength(3);
    expect(records[0]).toMatchObject({ messages: [{ content: 'q1' }, { content: 'ä1' }] });
    expect(hub.requests.some((request) => request.includes('other.bin'))).toBe(false);
    hub.requests.length = 0;
    await loadDataset('acme/chats');
    expect(hub.requests.filter((request) => request.includes('resolve'))).toEqual([]);
  });

  it('takes subset and revision, and works from the cache while offline', async () => {
    const { records } = await loadDataset('acme/chats@v2', { config: 'plain' });
    expect(records).toMatchObject([{ instruction: 'i', output: 'o' }]);
    expect(hub.requests[0]).toBe('GET /api/datasets/acme/chats/revision/v2');
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    expect((await loadDataset('acme/chats@v2', { config: 'plain' })).records).toHaveLength(1);
  });

  it('says that a data set is gone, or which subsets there are', async () => {
    await expect(loadDataset('acme/chats', { config: 'plane' })).rejects.toThrow(
      "no subset 'plane'; did you mean 'plain'?",
    );
    hub.fault = (_, response) => {
      response.writeHead(404, { 'x-error-code': 'RepoNotFound' }).end();
      return true;
    };
    await expect(loadDataset('acme/chats')).rejects.toThrow(HubError);
    await expect(loadDataset('acme/chats')).rejects.toThrow('no such repository or revision (404)');
  });
});

describe('loadDataset() of a directory', () => {
  it('takes the split that names say', async () => {
    const path = join(directory, 'mine');
    await mkdir(path);
    await writeFile(join(path, 'train.jsonl'), '{"text": "a"}\n');
    await writeFile(join(path, 'validation.csv'), 'text\nb\n');
    expect((await loadDataset(path)).records).toMatchObject([{ text: 'a' }]);
    expect((await loadDataset(path, { split: 'validation' })).records).toMatchObject([{ text: 'b' }]);
    await expect(loadDataset(path, { split: 'test' })).rejects.toThrow("has no split 'test'");
  });
});

describe('parseHubDataset()', () => {
  it.each([
    ['acme/chats', { repoId: 'acme/chats', revision: null }],
    ['acme/chats@refs-1', { repoId: 'acme/chats', revision: 'refs-1' }],
    ['math10k', null],
    ['data/mine.json', null],
    ['a/b/c', null],
  ])('%s', (spec, expected) => {
    expect(parseHubDataset(spec)).toEqual(expected);
  });
});
