/** @file Checkpoints in the origin-private file system of a real browser: whole, or not there. */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { build } from 'esbuild';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chromiumMissing, chromiumTitle, launchChromium } from '../../../test/support/chromium.js';
import { pageServer } from '../serve.mjs';

/** Runs in a worker, as what it tests does; what it posts is looked at here. */
const SCENARIO = `
import { folderCheckpoints } from './src/storage/checkpoints.ts';
import { makeFolder, namesIn, removeIfThere, writeFile } from './src/storage/opfs.ts';

const text = (content) => new TextEncoder().encode(content);
const files = (content) => new Map([['a.bin', text(content)], ['empty', new Uint8Array(0)]]);
const read = async (store, location) => [...(await store.read(location))].map(([name, bytes]) => [name, new TextDecoder().decode(bytes)]);
const failure = (promise) => promise.then(() => 'none', (error) => error.name + ': ' + error.message);

async function scenario() {
  const folder = await makeFolder('test', 'checkpoints');
  const store = folderCheckpoints(folder);
  const seen = {};
  seen.locations = [await store.write(9, files('nine')), await store.write(10, files('ten')), store.locate(11)];
  seen.listed = await store.list();
  seen.nine = await read(store, 'checkpoint-9');
  // The same step once more.
  await store.write(10, files('ten again'));
  seen.again = [await read(store, 'checkpoint-10'), (await namesIn(folder)).sort()];
  // A tab that was closed in the middle of writing.
  const half = await folder.getDirectoryHandle('checkpoint-11', { create: true });
  await writeFile(half, 'a.bin', text('el'));
  seen.half = await store.list();
  seen.readHalf = await failure(store.read('checkpoint-11'));
  await store.write(12, files('twelve'));
  seen.cleared = (await namesIn(folder)).sort();
  // Damage.
  await writeFile(await folder.getDirectoryHandle('checkpoint-9'), 'a.bin', text('nice'));
  seen.changed = await failure(store.read('checkpoint-9'));
  await writeFile(await folder.getDirectoryHandle('checkpoint-12'), 'a.bin', text('twe'));
  seen.cut = await failure(store.read('checkpoint-12'));
  seen.none = await failure(store.read('checkpoint-99'));
  await store.remove('checkpoint-10');
  seen.removed = (await store.list()).complete.map(({ step }) => step);
  await removeIfThere(await makeFolder(), 'test');
  return seen;
}
scenario().then((seen) => postMessage(seen), (error) => postMessage({ error: String(error) }));
`;

describe.skipIf(chromiumMissing() !== null)(chromiumTitle('folderCheckpoints()'), () => {
  let browser: Browser;
  let server: Server;
  beforeAll(async () => {
    server = pageServer('examples/browser/dist');
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
    browser = await launchChromium();
  });
  afterAll(async () => {
    await browser?.close();
    server?.closeAllConnections();
    server?.close();
  });

  it('keeps whole checkpoints alone, and says what is damaged', async () => {
    const { outputFiles } = await build({
      stdin: { contents: SCENARIO, resolveDir: 'examples/browser', loader: 'ts' },
      ...{
        bundle: true,
        write: false,
        platform: 'browser',
        format: 'esm',
        logLevel: 'silent',
        external: ['@tensorflow/tfjs'],
      },
      // The trainer's error is all that is used of it.
      treeShaking: true,
    });
    const page = await browser.newPage();
    await page.route('**/scenario.js', (route) =>
      route.fulfill({
        contentType: 'text/javascript',
        headers: { 'cross-origin-embedder-policy': 'require-corp' },
        body: outputFiles[0]!.text,
      }),
    );
    await page.goto(`http://localhost:${(server.address() as AddressInfo).port}/`);
    const seen = (await page.evaluate(
      () =>
        new Promise((resolve, reject) => {
          const worker = new Worker('scenario.js', { type: 'module' });
          worker.onmessage = ({ data }) => resolve(data);
          worker.onerror = ({ message }) => reject(new Error(message || 'the script cannot be loaded'));
        }),
    )) as Record<string, unknown>;
    expect(seen).toEqual({
      locations: ['checkpoint-9', 'checkpoint-10', 'checkpoint-11'],
      listed: {
        complete: [
          { step: 9, location: 'checkpoint-9' },
          { step: 10, location: 'checkpoint-10' },
        ],
        notices: [],
      },
      nine: [
        ['a.bin', 'nine'],
        ['empty', ''],
      ],
      again: [
        [
          ['a.bin', 'ten again'],
          ['empty', ''],
        ],
        ['checkpoint-10.1', 'checkpoint-9'],
      ],
      half: {
        complete: [
          { step: 9, location: 'checkpoint-9' },
          { step: 10, location: 'checkpoint-10' },
        ],
        notices: ['checkpoint-11 was never finished, and is skipped'],
      },
      readHalf: expect.stringContaining('checkpoint-11: there is no complete checkpoint of that name'),
      cleared: ['checkpoint-10.1', 'checkpoint-12', 'checkpoint-9'],
      changed: expect.stringContaining('checkpoint-9: the SHA-256 of a.bin is not that which was written'),
      cut: expect.stringContaining('checkpoint-12: a.bin has 3 bytes, 6 were written'),
      none: expect.stringContaining('checkpoint-99: there is no complete checkpoint of that name'),
      removed: [9, 12],
    });
  }, 60_000);
});
