/**
 * @file Serves the built page on this machine, with the headers that give a page threads (COOP, COEP) and forbid what it does not need (CSP).
 *
 *     node serve.mjs [--port 8080] [--dir dist]
 */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.wasm': 'application/wasm',
};

/** What the page may do; `'wasm-unsafe-eval'` is compiling WebAssembly, and no `eval`. */
export const CSP =
  "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self' blob: https: http://127.0.0.1:* http://localhost:*; worker-src 'self' blob:; object-src 'none'; base-uri 'none'";

/**
 * @param {string} dir of the built page.
 * @param {{ isolated?: boolean }} [options] `isolated: false` leaves COOP and COEP out, as most static hosts do.
 */
export function pageServer(dir, { isolated = true } = {}) {
  const headers = {
    'content-security-policy': CSP,
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-cache',
    ...(isolated && { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' }),
  };
  return createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url ?? '/', 'http://localhost').pathname));
    const file = join(dir, path.endsWith('/') ? `${path}index.html` : path);
    const found = await stat(file).catch(() => null);
    if (!found?.isFile() || path.includes('..')) {
      response.writeHead(404, headers).end('not found\n');
      return;
    }
    const type = TYPES[extname(file)] ?? 'application/octet-stream';
    response.writeHead(200, { ...headers, 'content-type': type, 'content-length': found.size });
    createReadStream(file).pipe(response);
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      port: { type: 'string', default: '8080' },
      dir: { type: 'string', default: fileURLToPath(new URL('dist', import.meta.url)) },
    },
  });
  const server = pageServer(values.dir);
  server.listen(Number(values.port), '127.0.0.1', () => {
    console.log(`http://localhost:${server.address().port}/  (Ctrl-C ends it)`);
  });
}
