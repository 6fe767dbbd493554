/** @file A Hugging Face hub on 127.0.0.1, with the answers and the faults that the real one has. */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export const COMMIT = '0123456789abcdef0123456789abcdef01234567';

/** Gives true where it has answered itself. */
export type Fault = (request: IncomingMessage, response: ServerResponse, seen: number) => boolean;

export class HubServer {
  /** Every request as `METHOD path [range]`, in order. */
  readonly requests: string[] = [];
  /** `authorization` headers that reached the storage of large files. */
  readonly storageTokens: (string | undefined)[] = [];
  readonly tokens: (string | undefined)[] = [];
  /** Asked before each answer, with how many requests there were of the same method and path. */
  fault: Fault = () => false;
  supportsRanges = true;
  #hub!: Server;
  #storage!: Server;

  /** @param files content by name; a `large` one is served by way of a redirect to another origin. */
  constructor(
    readonly files: Record<string, Buffer>,
    readonly repo = 'acme/tiny',
    readonly large: (name: string) => boolean = (name) => name.endsWith('.safetensors'),
    readonly kind = 'models',
  ) {}

  async start(): Promise<this> {
    this.#storage = await listen((request, response) => {
      this.storageTokens.push(request.headers.authorization);
      this.#note('STORAGE', request);
      if (this.fault(request, response, this.#count('STORAGE', request))) return;
      this.#send(request, response, this.files[decodeURIComponent(request.url!.slice(1))]!);
    });
    this.#hub = await listen((request, response) => this.#answer(request, response));
    return this;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#hub.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    for (const server of [this.#hub, this.#storage]) {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    }
  }

  #note(method: string, request: IncomingMessage): void {
    this.requests.push([method, request.url, request.headers.range].filter((part) => part !== undefined).join(' '));
  }

  #count(method: string, request: IncomingMessage): number {
    return this.requests.filter((r) => r.split(' ').slice(0, 2).join(' ') === `${method} ${request.url}`).length;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    this.#note(request.method!, request);
    this.tokens.push(request.headers.authorization);
    if (this.fault(request, response, this.#count(request.method!, request))) return;
    const prefix = this.kind === 'models' ? '' : `${this.kind}/`;
    if (request.url!.startsWith(`/api/${this.kind}/${this.repo}/revision/`)) {
      const blobs = request.url!.endsWith('?blobs=true');
      const siblings = Object.entries(this.files).map(([rfilename, content]) => ({
        rfilename,
        ...(blobs && this.#blobOf(rfilename, content)),
      }));
      const body = { sha: COMMIT, siblings };
      response.setHeader('content-type', 'application/json').end(JSON.stringify(body));
      return;
    }
    response.setHeader('x-repo-commit', COMMIT);
    const start = `/${prefix}${this.repo}/resolve/${COMMIT}/`;
    const name = decodeURIComponent(request.url!.slice(start.length));
    const content = request.url!.startsWith(start) ? this.files[name] : undefined;
    if (content === undefined) {
      response.writeHead(404, { 'x-error-code': 'EntryNotFound' }).end();
    } else if (this.large(name)) {
      const { port } = this.#storage.address() as AddressInfo;
      response
        .writeHead(302, {
          // localhost: another origin than the hub's 127.0.0.1.
          location: `http://localhost:${port}/${encodeURIComponent(name)}`,
          'x-linked-etag': `"${createHash('sha256').update(content).digest('hex')}"`,
          'x-linked-size': content.length,
        })
        .end();
    } else {
      response.setHeader('etag', `"${gitSha1(content)}"`);
      this.#send(request, response, content);
    }
  }

  /** As the hub says it with `?blobs=true`. */
  #blobOf(name: string, content: Buffer): object {
    const blobId = gitSha1(content);
    const sha256 = createHash('sha256').update(content).digest('hex');
    return {
      blobId,
      size: content.length,
      ...(this.large(name) && { lfs: { sha256, size: content.length, pointerSize: 134 } }),
    };
  }

  #send(request: IncomingMessage, response: ServerResponse, content: Buffer): void {
    const from = this.supportsRanges ? Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0) : 0;
    if (from >= content.length && from > 0) {
      response.writeHead(416).end();
      return;
    }
    if (from > 0) response.writeHead(206, { 'content-range': `bytes ${from}-${content.length - 1}/${content.length}` });
    else response.setHeader('content-length', content.length);
    response.end(request.method === 'HEAD' ? undefined : content.subarray(from));
  }
}

const gitSha1 = (content: Buffer): string =>
  createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');

/** Answers with `bytes` of `content`, says that there are more, and cuts the connection. */
export function cut(response: ServerResponse, content: Buffer, bytes: number): true {
  response.setHeader('content-length', content.length);
  response.write(content.subarray(0, bytes), () => setTimeout(() => response.destroy(), 20));
  return true;
}

function listen(handler: (request: IncomingMessage, response: ServerResponse) => void): Promise<Server> {
  const server = createServer((request, response) => {
    // As hub and storage let pages of any origin read them.
    response.setHeader('access-control-allow-origin', '*');
    response.setHeader('access-control-expose-headers', 'content-range, content-length, etag');
    if (request.method !== 'OPTIONS') {
      handler(request, response);
      return;
    }
    response.setHeader('access-control-allow-headers', 'range, authorization').writeHead(204).end();
  });
  return new Promise((ready) => server.listen(0, '127.0.0.1', () => ready(server)));
}
