/**
 * @file The built page in a headless Chromium: it learns as Node does, goes on where a closed tab stopped, gives out what loads elsewhere, and says what is
 * wrong with what it is given.
 */
import { readFile, rm, writeFile } from 'node:fs/promises';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serializeGguf, string } from '@spft/gguf';
import { fromPretrained, loadTokenizer } from '@spft/models/node';
import { adapterFromSafetensors, parseAdapterConfig } from '@spft/peft';
import type { LogEntry } from '@spft/trainer';
import { unzipSync } from 'fflate';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { memoryStore } from '../../packages/trainer/test/memory-store.js';
import { useBackend } from '../../test/support/backends.js';
import { chromiumMissing, chromiumTitle, launchChromium } from '../../test/support/chromium.js';
import { pageServer } from './serve.mjs';
import { askBoth } from './src/engine/chat.js';
import { prepare, recordsOf, samplesOf, train } from './src/engine/training-run.js';
import type { Method, RunData, RunSettings } from './src/protocol.js';

const DIST = 'examples/browser/dist';
const BASE = 'examples/quickstart/base';
const STEPS = 12;
const QUESTION = 'Ella has 11 eggs. Ella wins 6 more eggs. Ella hides 9 eggs. How many eggs does Ella have now?';

/** 64 of the sample's problems. */
async function someData(): Promise<RunData> {
  const rows = JSON.parse(await readFile('examples/quickstart/data/train.json', 'utf8')) as unknown[];
  return {
    name: 'some.jsonl',
    text: rows
      .slice(0, 64)
      .map((row) => JSON.stringify(row))
      .join('\n'),
  };
}

const settingsOf = (method: Method): RunSettings => ({
  ...{ model: { kind: 'quickstart' }, method, backend: 'wasm', steps: STEPS, batchSize: 4, learningRate: 0.003 },
  ...{ rank: 8, maxLength: 128, sparsity: 0.75, saveEvery: 4 },
});

/** The run of the page in this process. */
async function trainInNode(method: Method): Promise<{ losses: number[]; answer: string }> {
  await useBackend('wasm');
  const [model, tokenizer] = [await fromPretrained(BASE), await loadTokenizer(BASE)];
  const settings = settingsOf(method);
  const tuned = await prepare(model, settings);
  const losses: number[] = [];
  await train({
    tuned,
    samples: samplesOf(recordsOf(await someData()), tokenizer, settings),
    settings,
    checkpoints: memoryStore(),
    resume: false,
    signal: new AbortController().signal,
    onStep: ({ loss }) => losses.push(loss),
    onNotice: () => {},
  });
  const { after } = await askBoth(model, tuned.peft, tokenizer, QUESTION, 24, () => {});
  tuned.dispose();
  model.dispose();
  return { losses, answer: after };
}

let browser: Browser;
let server: Server;
let plain: Server;
/** What the page's policy forbade, and errors that nothing caught. */
const faults: string[] = [];

const address = (of: Server) => `http://localhost:${(of.address() as AddressInfo).port}/`;

const listening = (of: Server) => new Promise<Server>((resolve) => of.listen(0, '127.0.0.1', () => resolve(of)));

async function open(context: BrowserContext, at = address(server)): Promise<Page> {
  const page = await context.newPage();
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('console', (message) => {
    if (/Content Security Policy/.test(message.text())) faults.push(message.text());
  });
  await page.goto(at);
  await page.waitForSelector('html[data-ready]');
  return page;
}

async function fill(page: Page, settings: RunSettings, data: RunData | null): Promise<void> {
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
async function ended(page: Page): Promise<{ status: string; error: string }> {
  await page.waitForFunction(() => /^(Done|Paused|Stopped)/.test(document.querySelector('#status')!.textContent!));
  return { status: (await page.textContent('#status'))!, error: (await page.textContent('#error'))! };
}

/** Losses of all steps, from the last checkpoint in the page's storage. */
async function savedLosses(page: Page, step = STEPS): Promise<number[]> {
  const history = (await page.evaluate(async (at) => {
    const run = await (await navigator.storage.getDirectory()).getDirectoryHandle('run');
    const folder = await (await run.getDirectoryHandle('checkpoints')).getDirectoryHandle(`checkpoint-${at}`);
    const file = await (await folder.getFileHandle('trainer_state.json')).getFile();
    return JSON.parse(await file.text()).log_history;
  }, step)) as LogEntry[];
  return history.flatMap(({ loss }) => loss ?? []);
}

async function downloaded(page: Page, button: string): Promise<{ bytes: Buffer; name: string }> {
  const [download] = await Promise.all([page.waitForEvent('download'), page.click(button)]);
  return { bytes: await readFile(await download.path()), name: download.suggestedFilename() };
}

describe.skipIf(chromiumMissing() !== null)(chromiumTitle('the page in Chromium'), () => {
  let context: BrowserContext;

  beforeAll(async () => {
    [server, plain] = [await listening(pageServer(DIST)), await listening(pageServer(DIST, { isolated: false }))];
    browser = await launchChromium();
  });
  beforeEach(async () => {
    await context?.close();
    context = await browser.newContext();
    context.setDefaultTimeout(60_000);
    faults.length = 0;
  });
  afterAll(async () => {
    await browser?.close();
    for (const one of [server, plain]) {
      one?.closeAllConnections();
      one?.close();
    }
  });

  it('learns with the losses of Node, answers as it does, and gives out adapter and GGUF that do so elsewhere', async () => {
    const node = await trainInNode('sparselora');
    const page = await open(context);
    await fill(page, settingsOf('sparselora'), await someData());
    await page.click('#start-button');
    const { status, error } = await ended(page);
    expect(error).toBe('');
    expect(status).toContain(`Done after ${STEPS} steps`);
    expect(await savedLosses(page)).toEqual(node.losses);

    expect(await page.locator('#charts svg path.line').count()).toBeGreaterThan(0);
    expect(await page.getAttribute('#heat-map', 'aria-label')).toMatch(/layer 0: dense; layer 1: 2[56] % kept/);
    expect(await page.textContent('#tile-speed')).toMatch(/^[\d,]+$/);

    await page.fill('#question', QUESTION);
    await page.click('#ask-button');
    await page.waitForSelector('#ask-button:not(:disabled)');
    const after = (await page.textContent('#after'))!;
    expect(after.slice(0, node.answer.length)).toBe(node.answer);
    expect(await page.textContent('#before')).not.toBe(after);

    // The adapter, on the base, in this process.
    const tokenizer = await loadTokenizer(BASE);
    const prompt = async (model: Awaited<ReturnType<typeof fromPretrained>>) =>
      (await askBoth(model, null, tokenizer, QUESTION, 24, () => {})).after;
    const archive = await downloaded(page, '#adapter-button');
    expect(archive.name).toBe('quickstart-adapter.zip');
    const files = unzipSync(archive.bytes);
    const config = parseAdapterConfig(JSON.parse(Buffer.from(files['adapter_config.json']!).toString()));
    expect(config).toMatchObject({ r: 8, loraAlpha: 16, baseModelNameOrPath: 'quickstart' });
    const base = await fromPretrained(BASE);
    const peft = await adapterFromSafetensors(base, files['adapter_model.safetensors']!, config);
    expect(await prompt(base)).toBe(node.answer);
    peft.dispose();
    base.dispose();

    const merged = await downloaded(page, '#merged-button');
    expect(merged.name).toBe('quickstart-tuned-f16.gguf');
    const path = join(tmpdir(), `spft-${process.pid}-${merged.name}`);
    await writeFile(path, merged.bytes);
    const whole = await fromPretrained(path);
    expect(await prompt(whole)).toBe(node.answer);
    whole.dispose();
    await rm(path);
    expect((await downloaded(page, '#lora-button')).bytes.subarray(0, 4).toString()).toBe('GGUF');
    expect(await page.textContent('#error')).toBe('');
    expect(faults).toEqual([]);
  }, 120_000);

  it('goes on after its tab was closed in the middle, from the last checkpoint, to the losses of a run that never stopped', async () => {
    const node = await trainInNode('lora');
    const first = await open(context);
    await fill(first, settingsOf('lora'), await someData());
    await first.click('#start-button');
    // Two steps beyond a checkpoint, which the closed tab loses.
    await first.waitForFunction(() => /^(6|7) /.test(document.querySelector('#tile-step')!.textContent!));
    await first.close();

    const second = await open(context);
    expect(await second.textContent('#resume-text')).toBe(`LoRA on some.jsonl: 4 of ${STEPS} steps are saved.`);
    const begun: string[] = [];
    await second.exposeFunction('note', (step: string) => begun.push(step));
    await second.evaluate(() => {
      const tile = document.querySelector('#tile-step')!;
      new MutationObserver(() =>
        (globalThis as unknown as { note(step: string): void }).note(tile.textContent!),
      ).observe(tile, { childList: true });
    });
    await second.click('#resume-button');
    // Paused by the visitor, and gone on with by the same button.
    await second.waitForFunction(() => /^[5-9] /.test(document.querySelector('#tile-step')!.textContent!));
    await second.click('#pause-button');
    const paused = await ended(second);
    expect(paused.status).toMatch(/^Paused at step \d+\.$/);
    expect(begun[0]).toBe(`4 / ${STEPS}`);
    await second.click('#resume-button');
    const { status, error } = await ended(second);
    expect([status.slice(0, 4), error]).toEqual(['Done', '']);
    expect(await savedLosses(second)).toEqual(node.losses);
    expect(faults).toEqual([]);
  }, 120_000);

  it('works by keyboard alone, with a name for everything that has the focus', async () => {
    const page = await open(context);
    const reached: string[] = [];
    for (let n = 0; n < 60; n++) {
      await page.keyboard.press('Tab');
      const focus = await page.evaluate(() => {
        const at = document.activeElement as HTMLElement & { labels?: NodeListOf<HTMLLabelElement> };
        const name = at.getAttribute('aria-label') ?? at.labels?.[0]?.textContent ?? at.textContent ?? '';
        return {
          id: at.id || at.getAttribute('name') || at.tagName,
          name: name.trim(),
          outline: getComputedStyle(at).outlineStyle,
        };
      });
      if (focus.id === 'BODY') break;
      expect(focus.name, focus.id).not.toBe('');
      reached.push(focus.id);
    }
    for (const id of ['model', 'data', 'data-file', 'sample-button', 'method', 'steps', 'start-button', 'question']) {
      expect(reached).toContain(id);
    }
    await page.focus('#sample-button');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => document.querySelector('#data-hint')!.textContent !== '');
    await page.fill('#steps', '1');
    await page.keyboard.press('Enter');
    expect((await ended(page)).status).toContain('Done after 1 steps');
    expect(faults).toEqual([]);
  }, 60_000);

  it('has no eval, and says what is missing', async () => {
    const page = await open(context, address(plain));
    // What is run by way of the debugger is exempt, so a script of the page's own origin tries.
    const attempt =
      "try { document.title = new Function('return `ran`')(); } catch (error) { document.title = error.message; }";
    await page.route('**/attempt.js', (route) => route.fulfill({ contentType: 'text/javascript', body: attempt }));
    await page.addScriptTag({ url: 'attempt.js' });
    expect(await page.title()).toMatch(/unsafe-eval|Content Security Policy/);
    // A worker has the policy of its own answer.
    const worker = (await page.request.get(`${address(server)}worker.js`)).headers()['content-security-policy'];
    expect(worker).toContain("script-src 'self' 'wasm-unsafe-eval';");
    const chips = await page.locator('#capabilities li').allTextContents();
    expect(chips.find((chip) => chip.startsWith('No Threads'))).toContain('Cross-Origin-Opener-Policy: same-origin');
    expect(chips.find((chip) => chip.includes('SIMD'))).toMatch(/^SIMD/);
    expect(chips.find((chip) => chip.includes('WebGPU'))).toMatch(/^(No WebGPU|WebGPU)/);
    const isolated = await open(context);
    expect(await isolated.locator('#capabilities li').allTextContents()).toContainEqual(
      expect.stringMatching(/^Threads/),
    );
  }, 60_000);

  it('says what is wrong with data, models and settings, and goes on working', async () => {
    const page = await open(context);
    const settings = settingsOf('lora');
    const fails = async (wanted: string | RegExp) => {
      await page.click('#start-button');
      await page.waitForSelector('#error:not([hidden])');
      await page.waitForSelector('#start-button:not([hidden])');
      expect(await page.textContent('#error')).toMatch(wanted);
    };
    await fill(page, settings, null);
    await fails(/^There are no examples to learn from/);

    // A picture among the data.
    const drop = (name: string, bytes: Uint8Array) =>
      page.setInputFiles('#data-file', { name, mimeType: '', buffer: Buffer.from(bytes) });
    await drop('cat.png', Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0xff, 0xfe, 0));
    await page.waitForFunction(() => document.querySelector('#error')!.textContent!.startsWith('cat.png is no text'));
    await drop('notes.txt', Buffer.from('milk\nbread\n'));
    await page.waitForFunction(() => document.querySelector('#data-hint')!.textContent!.startsWith('notes.txt'));
    await fails('notes.txt: none of its 2 rows can be used; the first, line 1: is no valid JSON');

    await fill(page, { ...settings, batchSize: 512, maxLength: 131072 }, await someData());
    await fails(/^Too little memory: the run would take up to [\d.]+ GB .*Nothing was loaded: choose a smaller batch/);
    await fill(page, settings, null);

    const gguf = async (name: string, bytes: Uint8Array) => {
      await page.selectOption('#model', 'gguf');
      await page.setInputFiles('#gguf-file', { name, mimeType: '', buffer: Buffer.from(bytes) });
    };
    const mamba = serializeGguf(new Map([['general.architecture', string('mamba')]]), new Map());
    await gguf('mamba.gguf', mamba);
    await fails(/^mamba\.gguf: .*mamba/);
    await gguf('short.gguf', mamba.subarray(0, 20));
    await fails(/^short\.gguf: /);
    // One tensor, by its head; its bytes are said to be 2^40.
    const lying = serializeGguf(
      new Map([['general.architecture', string('llama')]]),
      new Map([['token_embd.weight', { type: 'F32', shape: [8], data: new Uint8Array(32) }]]),
    );
    const view = new DataView(lying.buffer);
    const at = Buffer.from(lying).indexOf('token_embd.weight') + 'token_embd.weight'.length + 4;
    expect(view.getBigUint64(at, true)).toBe(8n);
    view.setBigUint64(at, 2n ** 38n, true);
    await gguf('lying.gguf', lying);
    await fails(/^lying\.gguf: .*token_embd\.weight/);
    await gguf('none.gguf', Buffer.from('<!DOCTYPE html>'));
    await fails(/^none\.gguf: /);

    // After all that a run is made as if nothing had been.
    await page.selectOption('#model', 'quickstart');
    await fill(page, { ...settings, steps: 1 }, null);
    await page.click('#start-button');
    expect(await ended(page)).toMatchObject({ error: '', status: expect.stringContaining('Done after 1 steps') });
    expect(faults).toEqual([]);
  }, 60_000);

  it('says that the storage is full, that another tab trains, and keeps what was saved', async () => {
    const page = await open(context);
    await fill(page, { ...settingsOf('lora'), steps: 2000 }, await someData());
    await page.click('#start-button');
    await page.waitForFunction(() => /Saved at step 4/.test(document.querySelector('#status')!.textContent!));

    const other = await open(context);
    await fill(other, settingsOf('lora'), await someData());
    await other.click('#start-button');
    expect(await ended(other)).toMatchObject({
      error: expect.stringContaining('Another tab of this page is training'),
    });

    const session = await context.newCDPSession(page);
    await session.send('Storage.overrideQuotaForOrigin', { origin: new URL(page.url()).origin, quotaSize: 10_000 });
    expect(await ended(page)).toMatchObject({
      error: expect.stringMatching(/^The browser's storage for this page is full/),
    });
    await session.send('Storage.overrideQuotaForOrigin', { origin: new URL(page.url()).origin });
    await page.reload();
    await page.waitForSelector('html[data-ready]');
    expect(await page.textContent('#resume-text')).toMatch(/^LoRA on some\.jsonl: \d+ of 2000 steps are saved\.$/);
    expect(faults).toEqual([]);
  }, 60_000);
});
