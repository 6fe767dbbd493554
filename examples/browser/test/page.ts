/** @file The built page in a headless Chromium, for tests: servers, a fresh visitor for each test, what the page is given and what it shows. */
import { readFile } from 'node:fs/promises';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { LogEntry } from '@spft/trainer';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach } from 'vitest';
import { launchChromium } from '../../../test/support/chromium.js';
import { pageServer } from '../serve.mjs';
import type { Method, RunData, RunSettings } from '../src/protocol.js';

const DIST = 'examples/browser/dist';
export const BASE = 'examples/quickstart/base';
export const STEPS = 12;

/** 64 of the sample's problems. */
export async function someData(): Promise<RunData> {
  const rows = JSON.parse(await readFile('examples/quickstart/data/train.json', 'utf8')) as unknown[];
  return {
    name: 'some.jsonl',
    text: rows
      .slice(0, 64)
      .map((row) => JSON.stringify(row))
      .join('\n'),
  };
}

export const settingsOf = (method: Method): RunSettings => ({
  ...{ model: { kind: 'quickstart' }, method, backend: 'wasm', steps: STEPS, batchSize: 4, learningRate: 0.003 },
  ...{ rank: 8, maxLength: 128, sparsity: 0.75, saveEvery: 4 },
});

/** A server of the page. */
async function serving(options?: { isolated?: boolean }): Promise<Server> {
  const server = pageServer(DIST, options);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  return server;
}

const address = (of: Server) => `http://localhost:${(of.address() as AddressInfo).port}/`;

/** Visits to the page: a browser for a file of tests, a visitor without a past for each test. */
export class Visits {
  /** What the page's policy forbade, and errors that nothing caught. */
  readonly faults: string[] = [];
  context!: BrowserContext;
  /** Where the page is served with all headers, and where without those that isolate it. */
  address = '';
  plainAddress = '';
  #browser: Browser | undefined;
  #servers: Server[] = [];

  /** Call it within `describe`. @param flags of the browser's command line. */
  constructor(flags: readonly string[] = []) {
    beforeAll(async () => {
      this.#servers = [await serving(), await serving({ isolated: false })];
      [this.address, this.plainAddress] = this.#servers.map(address) as [string, string];
      this.#browser = await launchChromium(flags);
    });
    beforeEach(async () => {
      await this.context?.close();
      this.context = await this.#browser!.newContext();
      this.context.setDefaultTimeout(120_000);
      this.faults.length = 0;
    });
    afterAll(async () => {
      await this.#browser?.close();
      for (const server of this.#servers) {
        server.closeAllConnections();
        server.close();
      }
    });
  }

  /** A tab of this test's visitor. */
  async open(at = this.address): Promise<Page> {
    const page = await this.context.newPage();
    page.on('pageerror', (error) => this.faults.push(String(error)));
    page.on('console', (message) => {
      if (/Content Security Policy/.test(message.text())) this.faults.push(message.text());
    });
    await page.goto(at);
    await page.waitForSelector('html[data-ready]');
    return page;
  }
}

export async function fill(page: Page, settings: RunSettings, data: RunData | null): Promise<void> {
  if (data) {
    const buffer = Buffer.from(data.text);
    await page.setInputFiles('#data-file', { name: data.name, mimeType: 'application/json', buffer });
    await page.waitForFunction(
      (name) => document.querySelector('#data-hint')!.textContent!.startsWith(name),
      data.name,
    );
  }
  await page.check(`input[name="method"][value="${settings.method}"]`);
  await page.evaluate(() => {
    document.querySelector<HTMLDetailsElement>('#setup details')!.open = true;
  });
  const fields = {
    ...{ steps: settings.steps, batch: settings.batchSize, rate: settings.learningRate, rank: settings.rank },
    ...{ length: settings.maxLength, sparsity: settings.sparsity * 100, save: settings.saveEvery },
  };
  for (const [id, value] of Object.entries(fields)) await page.fill(`#${id}`, String(value));
}

/** Waits for the run's end. @returns the status line, and what the page says went wrong. */
export async function ended(page: Page): Promise<{ status: string; error: string }> {
  await page.waitForFunction(() => /^(Done|Paused|Stopped)/.test(document.querySelector('#status')!.textContent!));
  return { status: (await page.textContent('#status'))!, error: (await page.textContent('#error'))! };
}

/** Losses of all steps, from the last checkpoint in the page's storage. */
export async function savedLosses(page: Page, step = STEPS): Promise<number[]> {
  const history = (await page.evaluate(async (at) => {
    const run = await (await navigator.storage.getDirectory()).getDirectoryHandle('run');
    const folder = await (await run.getDirectoryHandle('checkpoints')).getDirectoryHandle(`checkpoint-${at}`);
    const file = await (await folder.getFileHandle('trainer_state.json')).getFile();
    return JSON.parse(await file.text()).log_history;
  }, step)) as LogEntry[];
  return history.flatMap(({ loss }) => loss ?? []);
}

export async function downloaded(page: Page, button: string): Promise<{ bytes: Buffer; name: string }> {
  const [download] = await Promise.all([page.waitForEvent('download'), page.click(button)]);
  return { bytes: await readFile(await download.path()), name: download.suggestedFilename() };
}
