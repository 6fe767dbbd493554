import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { COMMIT, HubServer } from '../../../test/hub-server.js';
import { HubError } from '../../hub/hub-error.js';
import { type DownloadOptions, downloadModel } from './download.js';
import { proxyFor } from './proxy.js';

const files = { 'config.json': Buffer.from('{"model_type":"llama"}'), 'model.safetensors': Buffer.alloc(5000, 7) };
let root: string;
let hub: HubServer;
let cacheDir: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'spft-hub-faults-'));
  cacheDir = join(root, 'cache');
  hub = await new HubServer({ ...files }).start();
});
afterEach(async () => {
  await hub.stop();
  await rm(root, { recursive: true, force: true });
});

const download = (more: DownloadOptions = {}) =>
  downloadModel('acme/tiny', {
    endpoint: hub.endpoint,
    cacheDir,
    env: { HF_HOME: root },
    retryDelayMs: 1,
    retries: 1,
    ...more,
  });
const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.unreachable('was accepted'),
    (error: unknown) => {
      expect(error).toBeInstanceOf(HubError);
      return (error as Error).message;
    },
  ) as Promise<string>;

describe('downloadModel() from a hub that is wrong', () => {
  it('stops reading what exceeds the announced size, and keeps nothing of it', async () => {
    let sent = 0;
    hub.fault = (incoming, response) => {
      if (incoming.url !== '/model.safetensors') return false;
      const more = () => {
        while (!response.destroyed && sent < 2 ** 28) {
          sent += 65536;
          if (!response.write(Buffer.alloc(65536))) return void response.once('drain', more);
        }
      };
      more();
      return true;
    };
    expect(await failure(download())).toContain('the hub sends more than the 5000 bytes that it announced');
    expect(sent).toBeLessThan(2 ** 27);
    const left = await readdir(join(cacheDir, 'models--acme--tiny', 'blobs'));
    expect(left.filter((name) => name.endsWith('.incomplete'))).toEqual([]);
  });

  it('refuses a list of files without end', async () => {
    hub.fault = (incoming, response) => {
      if (!incoming.url!.startsWith('/api/')) return false;
      const more = () => {
        while (!response.destroyed)
          if (!response.write(Buffer.alloc(2 ** 20, 0x20))) return void response.once('drain', more);
      };
      more();
      return true;
    };
    expect(await failure(download())).toContain("the hub's answer is longer than");
  });

  it.each([
    ['', 'is no name of a file'],
    ['a//b', 'is no name of a file'],
    ['a/', 'is no name of a file'],
    [`${'n'.repeat(300)}.json`, 'is no name of a file'],
    ['config.json/x', "has 'config.json' both as a file and as a folder"],
  ])("refuses a file named '%s'", async (name, message) => {
    hub.files[name] = Buffer.from('x');
    expect(await failure(download({ allowPatterns: ['*'] }))).toContain(message);
  });

  it('says nothing secret, whatever is echoed', async () => {
    const token = 'sekrit-token-1234';
    hub.fault = (incoming, response) => {
      response
        .writeHead(418, { 'x-error-message': `no: ${incoming.headers.authorization} ${token} hf_abcdefghijklmnop` })
        .end();
      return true;
    };
    const message = await failure(download({ token }));
    expect(message).toContain('***');
    expect(message).not.toContain(token);
    expect(message).not.toContain('hf_abcdefghijklmnop');
  });

  it('sends user and password of an endpoint in a header, and prints neither', async () => {
    const endpoint = hub.endpoint.replace('://', '://ann:pa%20ss-word@');
    await download({ endpoint });
    expect(hub.tokens[0]).toBe(`Basic ${Buffer.from('ann:pa ss-word').toString('base64')}`);
    hub.fault = (_, response) => {
      response.writeHead(404).end();
      return true;
    };
    for (const address of [endpoint, 'http://ann:pa%20ss-word@127.0.0.1:1', 'ftp://ann:pa%20ss-word@x']) {
      expect(await failure(download({ endpoint: address, cacheDir: join(root, 'other'), retries: 0 }))).not.toMatch(
        /pa(%20| )ss-word/,
      );
    }
  });
});

describe('downloadModel() offline', () => {
  const offline = () => failure(download({ offline: true }));
  const snapshot = () => join(cacheDir, 'models--acme--tiny', 'snapshots', COMMIT);
  beforeEach(async () => {
    await mkdir(snapshot(), { recursive: true });
    await mkdir(join(cacheDir, 'models--acme--tiny', 'refs'));
    await writeFile(join(cacheDir, 'models--acme--tiny', 'refs', 'main'), COMMIT);
    await writeFile(join(snapshot(), 'config.json'), '{}');
  });

  it('says that the cached copy is incomplete where the weights are not in it', async () => {
    expect(await offline()).toMatch(/the copy in the cache is incomplete .*no weights are there/);
  });

  it('says so of a missing shard and of a link whose blob is gone', async () => {
    const index = { weight_map: { a: 'model-00001-of-00002.safetensors', b: 'model-00002-of-00002.safetensors' } };
    await writeFile(join(snapshot(), 'model.safetensors.index.json'), JSON.stringify(index));
    await writeFile(join(snapshot(), 'model-00001-of-00002.safetensors'), 'x');
    expect(await offline()).toContain("the shard 'model-00002-of-00002.safetensors' is not there");
    await symlink('../../blobs/gone', join(snapshot(), 'model-00002-of-00002.safetensors'));
    expect(await offline()).toContain("'model-00002-of-00002.safetensors' points to a blob that is gone");
  });

  it('takes a complete one', async () => {
    await writeFile(join(snapshot(), 'model.safetensors'), 'x');
    expect(await download({ offline: true })).toBe(snapshot());
  });
});

describe('a cache that cannot be written', () => {
  it('is named with the variables that set another', async () => {
    await writeFile(join(root, 'file'), '');
    expect(await failure(download({ cacheDir: join(root, 'file', 'cache') }))).toContain('set HF_HUB_CACHE or HF_HOME');
    if (process.getuid?.() === 0) return;
    await mkdir(cacheDir);
    await chmod(cacheDir, 0o500);
    expect(await failure(download())).toContain('set HF_HUB_CACHE or HF_HOME');
  });
});

describe('proxies', () => {
  let proxy: Server;
  let seen: string[];
  beforeEach(async () => {
    seen = [];
    proxy = createServer((incoming: IncomingMessage, response) => {
      seen.push(`${incoming.method} ${incoming.url}`);
      const forwarded = request(incoming.url!, { method: incoming.method, headers: incoming.headers }, (answer) => {
        response.writeHead(answer.statusCode!, answer.headers);
        answer.pipe(response);
      });
      forwarded.on('error', () => response.destroy());
      forwarded.end();
    });
    proxy.on('connect', (incoming, socket) => {
      seen.push(`CONNECT ${incoming.url}`);
      const [host, port] = incoming.url!.split(':');
      const far = connect(Number(port), host!, () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        far.pipe(socket);
        socket.pipe(far);
      });
      far.on('error', () => socket.destroy());
      socket.on('error', () => far.destroy());
    });
    await new Promise<void>((ready) => proxy.listen(0, '127.0.0.1', () => ready()));
  });
  afterEach(() => {
    proxy.closeAllConnections();
    proxy.close();
  });
  const address = () => `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;

  it('carry all requests of a download, and none to a host that NO_PROXY names', async () => {
    const snapshot = await download({ env: { HF_HOME: root, HTTP_PROXY: address() } });
    expect((await readFile(join(snapshot, 'model.safetensors'))).length).toBe(5000);
    expect(seen.length).toBeGreaterThanOrEqual(hub.requests.length);
    expect(seen[0]).toContain(hub.endpoint.replace(/^http:\/\//, ''));
    seen = [];
    const env = { HF_HOME: root, HTTP_PROXY: address(), NO_PROXY: '127.0.0.1,localhost' };
    await download({ env, cacheDir: join(root, 'other') });
    expect(seen).toEqual([]);
  });

  it('carry https in a tunnel', async () => {
    const env = { HF_HOME: root, HTTPS_PROXY: address() };
    await failure(download({ env, endpoint: hub.endpoint.replace('http:', 'https:'), retries: 0 }));
    expect(seen).toEqual([`CONNECT ${hub.endpoint.slice('http://'.length)}`]);
  });

  it('are named without their password where they do not answer', async () => {
    const message = await failure(
      download({ env: { HF_HOME: root, HTTP_PROXY: 'http://me:pass-word@127.0.0.1:1' }, retries: 0 }),
    );
    expect(message).not.toContain('pass-word');
    expect(await failure(download({ env: { HF_HOME: root, HTTP_PROXY: 'socks5://me:pass-word@x:1' } }))).toMatch(
      /the proxy 'socks5:\/\/\*\*\*@x:1' .* is no http/,
    );
  });
});

describe('proxyFor()', () => {
  const of = (url: string, env: Record<string, string>) => proxyFor(new URL(url), env);

  it('takes the variable of the scheme, in small letters first, then ALL_PROXY', () => {
    const env = { HTTP_PROXY: 'http://a:1', HTTPS_PROXY: 'http://b:1', all_proxy: 'c:1' };
    expect(of('http://x', env)).toBe('http://a:1');
    expect(of('https://x', env)).toBe('http://b:1');
    expect(of('https://x', { ...env, https_proxy: 'd:2' })).toBe('http://d:2');
    expect(of('https://x', { all_proxy: 'c:1' })).toBe('http://c:1');
    expect(of('https://x', { HTTP_PROXY: 'a:1' })).toBeUndefined();
  });

  it.each([
    ['*', 'http://any.example', true],
    ['huggingface.co', 'https://huggingface.co', true],
    ['huggingface.co', 'https://cdn.huggingface.co', true],
    ['.huggingface.co', 'https://huggingface.co', true],
    ['*.huggingface.co', 'https://cdn.huggingface.co', true],
    ['face.co', 'https://huggingface.co', false],
    ['a, b.org ,c', 'http://b.org', true],
    ['b.org:8080', 'http://b.org', false],
    ['b.org:8080', 'http://b.org:8080', true],
    ['b.org:443', 'https://b.org', true],
    ['127.0.0.1', 'http://127.0.0.1:9999', true],
    ['[::1]:80', 'http://[::1]', true],
    ['::1', 'http://[::1]:7', true],
    ['', 'http://b.org', false],
    ['B.ORG', 'http://b.org', true],
  ])("NO_PROXY='%s' and %s: exempt %s", (noProxy, url, exempt) => {
    expect(of(url, { http_proxy: 'p:1', https_proxy: 'p:1', NO_PROXY: noProxy }) === undefined).toBe(exempt);
  });
});
