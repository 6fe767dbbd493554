/** @file The page learns as Node does, goes on where a closed tab stopped, loads models from a hub, and gives out what loads elsewhere. */
import { readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromPretrained, loadTokenizer } from '@spft/models/node';
import { adapterFromSafetensors, parseAdapterConfig } from '@spft/peft';
import { unzipSync } from 'fflate';
import { describe, expect, it } from 'vitest';
import { cut, HubServer } from '../../../packages/models/test/hub-server.js';
import { memoryStore } from '../../../packages/trainer/test/memory-store.js';
import { useBackend } from '../../../test/support/backends.js';
import { chromiumMissing, chromiumTitle } from '../../../test/support/chromium.js';
import { askBoth } from '../src/engine/chat.js';
import { recordsOf, samplesOf, train } from '../src/engine/training-run.js';
import { prepare } from '../src/engine/tuned-model.js';
import type { Method } from '../src/protocol.js';
import { BASE, downloaded, ended, fill, STEPS, savedLosses, settingsOf, someData, Visits } from './page.js';

const QUESTION = 'Ella has 11 eggs. Ella wins 6 more eggs. Ella hides 9 eggs. How many eggs does Ella have now?';

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

/** `i8x16.relaxed_swizzle`, which engines with relaxed SIMD take. */
const RELAXED = Uint8Array.of(
  ...[
    0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15,
    253,
  ],
  ...[128, 2, 11],
);

/** The same bits; to four decimals where this Node's products add in other steps than the browser's, as it has no relaxed SIMD. */
function expectSameLosses(found: readonly number[], wanted: readonly number[]): void {
  if (WebAssembly.validate(RELAXED)) expect(found).toEqual(wanted);
  expect(found).toHaveLength(wanted.length);
  found.forEach((loss, n) => {
    expect(loss, `step ${n + 1}`).toBeCloseTo(wanted[n]!, 4);
  });
}

describe.skipIf(chromiumMissing() !== null)(chromiumTitle('training in Chromium'), () => {
  const visits = new Visits();

  it('learns with the losses of Node, answers as it does, and gives out adapter and GGUF that do so elsewhere', async () => {
    const node = await trainInNode('sparselora');
    const page = await visits.open();
    await fill(page, settingsOf('sparselora'), await someData());
    await page.click('#start-button');
    const { status, error } = await ended(page);
    expect(error).toBe('');
    expect(status).toContain(`Done after ${STEPS} steps`);
    expectSameLosses(await savedLosses(page), node.losses);
    if (availableParallelism() > 1) expect(await page.textContent('#notices')).not.toContain('one thread');

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
    expect(visits.faults).toEqual([]);
  }, 240_000);

  it('goes on after its tab was closed in the middle, from the last checkpoint, to the losses of a run that never stopped', async () => {
    const first = await visits.open();
    await fill(first, settingsOf('lora'), await someData());
    await first.click('#start-button');
    // Two steps beyond a checkpoint, which the closed tab loses.
    await first.waitForFunction(() => /^(6|7) /.test(document.querySelector('#tile-step')!.textContent!));
    await first.close();

    const second = await visits.open();
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
    const resumed = await savedLosses(second);
    await fill(second, settingsOf('lora'), await someData());
    await second.click('#start-button');
    expect((await ended(second)).status).toContain(`Done after ${STEPS} steps`);
    expect(resumed).toHaveLength(STEPS);
    expect(resumed).toEqual(await savedLosses(second));
    expect(visits.faults).toEqual([]);
  }, 240_000);

  it('loads a model from a hub once, goes on after a broken connection, and checks what came', async () => {
    const names = [
      'config.json',
      'generation_config.json',
      'tokenizer.json',
      'tokenizer_config.json',
      'model.safetensors',
    ];
    const files = Object.fromEntries(
      await Promise.all(names.map(async (name) => [name, await readFile(`${BASE}/${name}`)] as const)),
    );
    const hub = await new HubServer(files).start();
    const weights = files['model.safetensors']!;
    try {
      const page = await visits.open();
      await fill(page, { ...settingsOf('lora'), steps: 2 }, await someData());
      await page.selectOption('#model', 'hub');
      await page.fill('#hub-address', hub.endpoint);
      await page.fill('#hub-id', 'acme/none');
      await page.click('#start-button');
      expect((await ended(page)).error).toMatch(/^acme\/none: .*404/);
      // Its memory is looked at when config.json is there, before the weights are asked for.
      await page.fill('#hub-id', 'acme/tiny');
      await page.fill('#batch', '512');
      await page.fill('#length', '131072');
      await page.click('#start-button');
      expect((await ended(page)).error).toMatch(/^Too little memory/);
      expect(hub.requests.filter((request) => request.startsWith('STORAGE'))).toEqual([]);
      await fill(page, { ...settingsOf('lora'), steps: 2 }, null);
      // Damaged on the way, twice cut off, then right.
      hub.fault = (request, response, seen) => {
        if (request.url !== '/model.safetensors' || seen > 3) return false;
        if (seen === 1) response.end(Buffer.alloc(weights.length, 1));
        else cut(response, weights, 1_000_000 * seen);
        return true;
      };
      await page.click('#start-button');
      expect(await ended(page)).toMatchObject({ error: '', status: expect.stringContaining('Done after 2 steps') });
      expect(hub.requests.filter((request) => request.startsWith('STORAGE')).at(-1)).toMatch(/bytes=\d+-$/);
      const losses = await savedLosses(page, 2);
      const asked = hub.requests.length;
      await page.reload();
      await page.waitForSelector('html[data-ready]');
      await fill(page, { ...settingsOf('lora'), steps: 2 }, await someData());
      await page.selectOption('#model', 'hub');
      await page.fill('#hub-address', hub.endpoint);
      await page.fill('#hub-id', 'acme/tiny');
      await page.click('#start-button');
      expect(await ended(page)).toMatchObject({ error: '', status: expect.stringContaining('Done after 2 steps') });
      expect(await savedLosses(page, 2)).toEqual(losses);
      expect(hub.requests.length).toBe(asked);
      expect(visits.faults).toEqual([]);
    } finally {
      await hub.stop();
    }
  }, 180_000);
});
