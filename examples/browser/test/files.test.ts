/** @file What a visitor brings and takes along: data that is pasted or dropped, a GGUF file to go on from, files to download; and files that are damaged, or find no room. */
import { readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseGguf } from '@spft/gguf';
import { fromPretrained, saveGguf } from '@spft/models/node';
import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { HubServer } from '../../../packages/models/test/hub-server.js';
import { useBackend } from '../../../test/support/backends.js';
import { chromiumMissing, chromiumTitle } from '../../../test/support/chromium.js';
import { BASE, downloaded, ended, fill, STEPS, savedLosses, settingsOf, someData, Visits } from './page.js';

/** As a file manager drops it. */
async function drop(page: Page, name: string, bytes: Uint8Array): Promise<void> {
  const transfer = await page.evaluateHandle(
    ([fileName, content]) => {
      const made = new DataTransfer();
      made.items.add(new File([Uint8Array.from(atob(content!), (one) => one.charCodeAt(0))], fileName!));
      return made;
    },
    [name, Buffer.from(bytes).toString('base64')],
  );
  await page.dispatchEvent('#drop', 'dragover', { dataTransfer: transfer });
  expect(await page.getAttribute('#drop', 'class')).toContain('over');
  await page.dispatchEvent('#drop', 'drop', { dataTransfer: transfer });
  expect(await page.getAttribute('#drop', 'class')).not.toContain('over');
}

const namesIn = (page: Page, folder: string) =>
  page.evaluate(async (name) => {
    const names: string[] = [];
    const root = await navigator.storage.getDirectory();
    const within = await root.getDirectoryHandle(name).catch(() => null);
    if (within)
      for await (const one of (within as unknown as { keys(): AsyncIterable<string> }).keys()) names.push(one);
    return names;
  }, folder);

describe.skipIf(chromiumMissing() !== null)(chromiumTitle('files of a visitor in Chromium'), () => {
  const visits = new Visits();
  /** The quickstart's base, whose weights are bf16, so that they are the same numbers in the file. */
  let gguf: Buffer;

  beforeAll(async () => {
    await useBackend('cpu');
    const model = await fromPretrained(BASE);
    const path = join(tmpdir(), `spft-${process.pid}-base.gguf`);
    await saveGguf(path, model, { type: 'bf16', source: BASE });
    gguf = await readFile(path);
    await rm(path);
    model.dispose();
  }, 60_000);

  it('learns from what is pasted and what is dropped, with a curve that grows and answers between two steps', async () => {
    const page = await visits.open();
    const { text } = await someData();
    await page.fill('#data', text);
    expect(await page.textContent('#data-hint')).toMatch(/^pasted\.jsonl: \d+ kB$/);
    await fill(page, { ...settingsOf('lora'), steps: 1 }, null);
    await page.click('#start-button');
    expect(await ended(page)).toMatchObject({ error: '', status: expect.stringContaining('Done after 1 steps') });
    const [pasted] = await savedLosses(page, 1);

    await drop(page, 'dropped.jsonl', Buffer.from(text));
    await page.waitForFunction(() => document.querySelector('#data-hint')!.textContent!.startsWith('dropped.jsonl'));
    await fill(page, { ...settingsOf('lora'), steps: 3000 }, null);
    await page.click('#start-button');
    const reaches = (step: number) =>
      page.waitForFunction(
        (wanted) => Number(document.querySelector('#tile-step')!.textContent!.split(' ')[0]) >= wanted,
        step,
      );
    const curve = () => page.locator('#charts svg path.line').last().getAttribute('d');
    await reaches(4);
    const before = await curve();
    await reaches(6);
    expect((await curve())!.length).toBeGreaterThan(before!.length);
    await page.fill('#question', 'How many eggs does Ella have?');
    await page.click('#ask-button');
    await page.waitForSelector('#ask-button:not(:disabled)');
    expect(await page.isVisible('#pause-button')).toBe(true);
    for (const side of ['#before', '#after']) expect((await page.textContent(side))!.replace('…', '')).not.toBe('');
    await page.click('#pause-button');
    const { status, error } = await ended(page);
    expect([status, error]).toEqual([expect.stringMatching(/^Paused at step \d+\.$/), '']);
    const step = Number(/\d+/.exec(status)![0]);
    const losses = await savedLosses(page, step);
    expect(losses).toHaveLength(step);
    expect(losses[0]).toBe(pasted);
    expect(visits.faults).toEqual([]);
  }, 240_000);

  it('goes on from a GGUF file that is dropped, also after a reload, as from the model that it was made of; its files load elsewhere', async () => {
    const page = await visits.open();
    const settings = settingsOf('lora');
    await fill(page, settings, await someData());
    await page.click('#start-button');
    expect(await ended(page)).toMatchObject({ error: '', status: expect.stringContaining(`Done after ${STEPS}`) });
    const wanted = await savedLosses(page);

    await drop(page, 'base.gguf', gguf);
    expect(await page.inputValue('#model')).toBe('gguf');
    expect(await page.isVisible('#gguf-file')).toBe(true);
    await fill(page, settings, null);
    await page.click('#start-button');
    await page.waitForFunction(() => /^[5-9] /.test(document.querySelector('#tile-step')!.textContent!));
    await page.click('#pause-button');
    expect(await ended(page)).toMatchObject({ error: '', status: expect.stringMatching(/^Paused/) });
    expect(await namesIn(page, 'gguf')).toEqual(['model.gguf']);
    await page.reload();
    await page.waitForSelector('html[data-ready]');
    await page.click('#resume-button');
    expect(await ended(page)).toMatchObject({ error: '', status: expect.stringContaining(`Done after ${STEPS}`) });
    expect(await savedLosses(page)).toEqual(wanted);

    const merged = await downloaded(page, '#merged-q8-button');
    expect(merged.name).toBe('base-tuned-q8_0.gguf');
    expect(await page.textContent('#take-status')).toMatch(
      /^base-tuned-q8_0\.gguf: [\d.]+ MB, read again and compared\.$/,
    );
    const file = parseGguf(merged.bytes, merged.name);
    expect(new Set([...file.names].map((name) => file.entry(name).type))).toEqual(new Set(['F32', 'Q8_0']));
    const path = join(tmpdir(), `spft-${process.pid}-${merged.name}`);
    await writeFile(path, merged.bytes);
    const whole = await fromPretrained(path);
    expect(whole.parameterCount).toBe(2_950_848);
    whole.dispose();
    await rm(path);
    const adapter = await downloaded(page, '#lora-button');
    const parts = parseGguf(adapter.bytes, adapter.name);
    expect(parts.metadata.string('adapter.type')).toBe('lora');
    expect([...parts.names]).toContain('blk.0.attn_q.weight.lora_a');
    expect(visits.faults).toEqual([]);
  }, 240_000);

  it('says that a GGUF file is cut short or finds no room, keeps nothing of it, and takes it whole afterwards', async () => {
    const page = await visits.open();
    const fails = async (wanted: RegExp) => {
      await page.click('#start-button');
      expect((await ended(page)).error).toMatch(wanted);
      expect(await namesIn(page, 'gguf')).toEqual([]);
    };
    await fill(page, { ...settingsOf('lora'), steps: 1 }, await someData());
    await drop(page, 'cut.gguf', gguf.subarray(0, gguf.length - 1000));
    await fails(/^cut\.gguf: /);

    await drop(page, 'base.gguf', gguf);
    const session = await visits.context.newCDPSession(page);
    const origin = new URL(page.url()).origin;
    await session.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 1_000_000 });
    await fails(/^The browser's storage for this page is full/);
    await session.send('Storage.overrideQuotaForOrigin', { origin });
    await fill(page, { ...settingsOf('lora'), steps: 1 }, null);
    await page.click('#start-button');
    expect(await ended(page)).toMatchObject({ error: '', status: expect.stringContaining('Done after 1 steps') });
    expect(visits.faults).toEqual([]);
  }, 180_000);

  it('says that a model from the hub finds no room, and goes on with it when there is some', async () => {
    const names = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'model.safetensors'];
    const files = Object.fromEntries(
      await Promise.all(names.map(async (name) => [name, await readFile(`${BASE}/${name}`)] as const)),
    );
    const hub = await new HubServer(files).start();
    try {
      const page = await visits.open();
      await fill(page, { ...settingsOf('lora'), steps: 1 }, await someData());
      await page.selectOption('#model', 'hub');
      await page.fill('#hub-address', hub.endpoint);
      await page.fill('#hub-id', 'acme/tiny');
      const session = await visits.context.newCDPSession(page);
      const origin = new URL(page.url()).origin;
      await session.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 3_000_000 });
      await page.click('#start-button');
      expect((await ended(page)).error).toMatch(/^The browser's storage for this page is full/);
      await session.send('Storage.overrideQuotaForOrigin', { origin });
      await fill(page, { ...settingsOf('lora'), steps: 1 }, null);
      await page.click('#start-button');
      expect(await ended(page)).toMatchObject({ error: '', status: expect.stringContaining('Done after 1 steps') });
      expect(visits.faults).toEqual([]);
    } finally {
      await hub.stop();
    }
  }, 120_000);

  it('says what is missing where a run was saved that this browser cannot go on with', async () => {
    const page = await visits.open();
    await fill(page, { ...settingsOf('lora'), steps: 2, saveEvery: 1 }, await someData());
    await page.click('#start-button');
    await ended(page);
    // As a browser with a GPU has left it, after its first step.
    await page.evaluate(async () => {
      const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle('run');
      const handle = await folder.getFileHandle('run.json');
      const run = JSON.parse(await (await handle.getFile()).text());
      run.settings = { ...run.settings, backend: 'webgpu', steps: 4 };
      const stream = await handle.createWritable();
      await stream.write(JSON.stringify(run));
      await stream.close();
    });
    await page.reload();
    await page.waitForSelector('html[data-ready]');
    expect(await page.textContent('#resume-text')).toBe('LoRA on some.jsonl: 2 of 4 steps are saved.');
    if (!(await page.locator('#backend option[value="webgpu"]').isDisabled())) return;
    await page.click('#resume-button');
    expect((await ended(page)).error).toMatch(/^WebGPU cannot run here: /);
    // The run is there still.
    expect(await page.isVisible('#resume-button')).toBe(true);
    expect(visits.faults).toEqual([]);
  }, 120_000);
});
