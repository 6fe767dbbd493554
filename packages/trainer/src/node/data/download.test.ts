import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { type FileServer, serveFiles } from '../../../test/file-server.js';
import { DatasetError } from '../../data/dataset-error.js';
import { type DatasetProgress, fetchDataset } from './download.js';

const body = JSON.stringify(Array.from({ length: 20_000 }, (_, i) => ({ i })));
const status = (code: number) => (_: unknown, response: { writeHead(code: number): { end(text: string): void } }) =>
  response.writeHead(code).end('[]');

let directory: string;
let server: FileServer;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'spft-download-'));
  server = await serveFiles({
    '/good.json': (_, response) => response.writeHead(200, { 'content-length': body.length }).end(body),
    '/unannounced.json': (_, response) => {
      response.writeHead(200).write(body.slice(0, 100));
      response.end(body.slice(100));
    },
    '/stops.json': (_, response) => {
      response.writeHead(200, { 'content-length': body.length });
      response.write(body.slice(0, 5000), () => response.destroy());
    },
    '/stops-unannounced.json': (_, response) => {
      response.writeHead(200);
      response.write(body.slice(0, 5000), () => response.destroy());
    },
    '/stalls.json': (_, response) => {
      response.writeHead(200, { 'content-length': body.length }).write(body.slice(0, 5000));
    },
    '/silent.json': () => {},
    '/login.json': (_, response) => response.writeHead(200).end('<!doctype html><p>Please log in'),
    '/empty.json': (_, response) => response.writeHead(200).end(),
    '/401.json': status(401),
    '/403.json': status(403),
    '/429.json': status(429),
    '/418.json': status(418),
    '/503.json': status(503),
  });
});
afterAll(async () => {
  await server.close();
  await rm(directory, { recursive: true });
});

describe('fetchDataset() by way of others', () => {
  afterEach(() => vi.unstubAllEnvs());

  it("goes through the user's proxy, unless NO_PROXY names the host", async () => {
    const through: string[] = [];
    const proxy = createServer((request, response) => {
      through.push(`${request.url} ${request.headers['proxy-authorization']}`);
      response.writeHead(200, { 'content-length': body.length }).end(body);
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const { port } = proxy.address() as AddressInfo;
    for (const name of ['http_proxy', 'all_proxy', 'no_proxy', 'NO_PROXY', 'ALL_PROXY']) vi.stubEnv(name, '');
    vi.stubEnv('HTTP_PROXY', `http://ann:secret1@127.0.0.1:${port}`);
    await fetchDataset('http://nowhere.invalid/x.json', join(directory, 'proxied.json'));
    expect(await readFile(join(directory, 'proxied.json'), 'utf8')).toBe(body);
    expect(through).toEqual([`http://nowhere.invalid/x.json Basic ${btoa('ann:secret1')}`]);
    vi.stubEnv('NO_PROXY', '127.0.0.1');
    await fetchDataset(`${server.url}/good.json`, join(directory, 'direct.json'));
    expect(through).toHaveLength(1);
    proxy.closeAllConnections();
    await new Promise((resolve) => proxy.close(resolve));
  });

  it('sends a user and password of the address in a header, and says them nowhere', async () => {
    const seen: (string | undefined)[] = [];
    const guarded = await serveFiles({
      '/good.json': ({ headers }, response) => {
        seen.push(headers.authorization);
        response.writeHead(200, { 'content-length': body.length }).end(body);
      },
    });
    const at = guarded.url.replace('http://', 'http://ann:pass%20word@');
    const progress: string[] = [];
    const onProgress = ({ url }: DatasetProgress) => void progress.push(url);
    await fetchDataset(`${at}/good.json`, join(directory, 'guarded.json'), { onProgress });
    expect(seen).toEqual([`Basic ${btoa('ann:pass word')}`]);
    expect(new Set(progress)).toEqual(new Set([`${guarded.url}/good.json`]));
    const refusals = [
      `${at}/none.json`,
      'http://ann:password@127.0.0.1:1/x.json',
      'ftp://ann:password@host/x.json',
      'ann:password',
    ];
    for (const address of refusals) {
      const refusal = fetchDataset(address, join(directory, 'x.json'));
      await expect(refusal).rejects.toBeInstanceOf(DatasetError);
      if (address.includes('@')) await expect(refusal).rejects.not.toThrow(/pass/);
    }
    await guarded.close();
  });
});

describe('fetchDataset()', () => {
  it.each(['good', 'unannounced'])('writes a file that is whole, and reports progress (%s)', async (name) => {
    const path = join(directory, name, 'deep', 'data.json');
    const progress: DatasetProgress[] = [];
    await fetchDataset(`${server.url}/${name}.json`, path, { onProgress: (p) => progress.push(p) });
    expect(await readFile(path, 'utf8')).toBe(body);
    expect(await readdir(join(directory, name, 'deep'))).toEqual(['data.json']);
    expect(progress.at(-1)).toEqual({
      url: `${server.url}/${name}.json`,
      file: path,
      received: body.length,
      total: name === 'good' ? body.length : null,
    });
  });

  it.each([
    ['401', 401, 'the server wants an account (401); check the address (SPFT_DATASETS_URL)'],
    ['403', 403, 'the server forbids it (403)'],
    ['missing', 404, 'the server has no such file (404)'],
    ['429', 429, 'the server is asked too often (429); run it again later'],
    ['418', 418, 'the server answers 418; check the address'],
    ['503', 503, 'the server answers 503; it has a fault of its own: run it again later'],
    ['stops', undefined, /the download stopped after \d+ of \d+ bytes \(.+\); run it again/],
    ['stops-unannounced', undefined, /the download stopped after \d+ bytes \(.+\); run it again/],
    ['stalls', undefined, /the download stopped after 5000 of \d+ bytes \(nothing came for 0.2 s\)/],
    ['silent', undefined, 'no answer (nothing came for 0.2 s); check the connection'],
    ['login', undefined, "what came is no JSON (it begins with '<!doctype html><p>Please log i')"],
    ['empty', undefined, 'the download ended after 0 of'],
  ])('gives a typed error and leaves nothing where the server answers as %s', async (name, code, message) => {
    const folder = join(directory, `refused-${name}`);
    const path = join(folder, 'data.json');
    const error: unknown = await fetchDataset(`${server.url}/${name}.json`, path, { idleTimeoutMs: 200 }).catch(
      (e) => e,
    );
    expect(error).toBeInstanceOf(DatasetError);
    expect(error).toMatchObject({ code: 'SPFT_DATASET', status: code, file: path });
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message).toContain(`or put the file at ${path} yourself`);
    expect(await readdir(folder).catch(() => [])).toEqual([]);
  });

  it('says so when there is no server', async () => {
    const gone = await serveFiles({});
    await gone.close();
    const fetched = fetchDataset(`${gone.url}/a.json`, join(directory, 'a.json'));
    await expect(fetched).rejects.toThrow('no answer (ECONNREFUSED); check the connection');
  });

  it('keeps the file that was there when a new one cannot be had', async () => {
    const path = join(directory, 'kept.json');
    await writeFile(path, 'old');
    await expect(fetchDataset(`${server.url}/stops.json`, path)).rejects.toThrow('the download stopped');
    expect(await readFile(path, 'utf8')).toBe('old');
  });

  it('says so when the place cannot be written', async () => {
    await writeFile(join(directory, 'a-file'), '');
    const fetched = fetchDataset(`${server.url}/good.json`, join(directory, 'a-file', 'data.json'));
    await expect(fetched).rejects.toThrow(/the file cannot be written \(.*\); make room, or choose another directory/);
  });
});
