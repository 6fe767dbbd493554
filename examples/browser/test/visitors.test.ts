/** @file Visitors of the page: by keyboard alone, with browsers and hosts that lack something, with data, models and settings that are wrong. */
import { serializeGguf, string } from '@spft/gguf';
import { describe, expect, it } from 'vitest';
import { chromiumMissing, chromiumTitle } from '../../../test/support/chromium.js';
import { CSP } from '../serve.mjs';
import { ended, fill, settingsOf, someData, Visits } from './page.js';

describe.skipIf(chromiumMissing() !== null)(chromiumTitle('visitors of the page in Chromium'), () => {
  const visits = new Visits();

  it('works by keyboard alone, with a name for everything that has the focus', async () => {
    const page = await visits.open();
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
    await page.fill('#steps', '30');
    await page.keyboard.press('Enter');
    // What had the focus is switched off while a run goes on, and the button that was pressed when it ends.
    const focus = () => page.evaluate(() => document.activeElement!.id);
    expect(await focus()).toBe('pause-button');
    await page.waitForFunction(() => /^[1-9]\d* \/ 30/.test(document.querySelector('#tile-step')!.textContent!));
    await page.keyboard.press('Enter');
    expect((await ended(page)).status).toMatch(/^(Paused|Done)/);
    await page.waitForSelector('#start-button:not([hidden])');
    expect(await focus()).toBe('start-button');
    await page.focus('#adapter-button');
    const [file] = await Promise.all([page.waitForEvent('download'), page.keyboard.press('Enter')]);
    expect(file.suggestedFilename()).toBe('quickstart-adapter.zip');
    await page.waitForSelector('#adapter-button:not(:disabled)');
    expect(await focus()).toBe('adapter-button');
    expect(visits.faults).toEqual([]);
  }, 180_000);

  it('shows on a narrow screen what it says, within the screen', async () => {
    const page = await visits.open();
    await page.setViewportSize({ width: 360, height: 740 });
    const within = async (selector: string) => {
      const { x, y, width, height } = (await page.locator(selector).boundingBox())!;
      expect([x >= 0, x + width <= 360, y >= 0, y + height <= 740], `${selector} at ${x}, ${y}`).toEqual([
        ...[true, true, true, true],
      ]);
    };
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
    const chips = page.locator('#capabilities button');
    for (let n = 0; n < (await chips.count()); n++) {
      await chips.nth(n).click();
      expect(await page.locator('#capabilities .about:visible').count()).toBe(1);
      await within('#capabilities .about:visible');
    }
    await page.keyboard.press('Escape');
    expect(await page.locator('#capabilities .about:visible').count()).toBe(0);
    // The button is far from where errors are said.
    await page.click('#start-button');
    await page.waitForSelector('#error:not([hidden])');
    await within('#error');
    expect(visits.faults).toEqual([]);
  }, 60_000);

  it('has no eval, and says what is missing', async () => {
    const page = await visits.open(visits.plainAddress);
    // What is run by way of the debugger is exempt, so a script of the page's own origin tries.
    const attempt =
      "try { document.title = new Function('return `ran`')(); } catch (error) { document.title = error.message; }";
    await page.route('**/attempt.js', (route) => route.fulfill({ contentType: 'text/javascript', body: attempt }));
    await page.addScriptTag({ url: 'attempt.js' });
    expect(await page.title()).toMatch(/unsafe-eval|Content Security Policy/);
    // A worker has the policy of its own answer.
    const worker = (await page.request.get(`${visits.address}worker.js`)).headers()['content-security-policy'];
    expect(worker).toContain("script-src 'self' 'wasm-unsafe-eval';");
    expect(await page.getAttribute('meta[http-equiv]', 'content')).toBe(CSP);
    const chips = await page.locator('#capabilities li').allTextContents();
    expect(chips.find((chip) => chip.startsWith('No Threads'))).toContain('Cross-Origin-Opener-Policy: same-origin');
    expect(chips.find((chip) => chip.includes('SIMD'))).toMatch(/^SIMD/);
    expect(chips.find((chip) => chip.includes('WebGPU'))).toMatch(/^(No WebGPU|WebGPU)/);
    const webgpu = page.locator('#backend option[value="webgpu"]');
    expect(await webgpu.isDisabled()).toBe(chips.some((chip) => chip.startsWith('No WebGPU')));
    if (await webgpu.isDisabled()) expect(await webgpu.textContent()).toMatch(/^WebGPU: .+/);
    await fill(page, { ...settingsOf('lora'), steps: 1 }, await someData());
    await page.click('#start-button');
    expect((await ended(page)).status).toContain('Done after 1 steps');
    expect(await page.textContent('#notices')).toContain(
      'WebAssembly runs on one thread: memory cannot be shared here',
    );
    const isolated = await visits.open();
    expect(await isolated.locator('#capabilities li').allTextContents()).toContainEqual(
      expect.stringMatching(/^Threads/),
    );
  }, 180_000);

  it('says what is wrong with data, models and settings, and goes on working', async () => {
    const page = await visits.open();
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
    expect(visits.faults).toEqual([]);
  }, 180_000);

  it('says that the storage is full, that another tab trains, and keeps what was saved', async () => {
    const page = await visits.open();
    await fill(page, { ...settingsOf('lora'), steps: 2000 }, await someData());
    await page.click('#start-button');
    await page.waitForFunction(() => /Saved at step 4/.test(document.querySelector('#status')!.textContent!));

    const other = await visits.open();
    await fill(other, settingsOf('lora'), await someData());
    await other.click('#start-button');
    expect(await ended(other)).toMatchObject({
      error: expect.stringContaining('Another tab of this page is training'),
    });

    const session = await visits.context.newCDPSession(page);
    await session.send('Storage.overrideQuotaForOrigin', { origin: new URL(page.url()).origin, quotaSize: 10_000 });
    expect(await ended(page)).toMatchObject({
      error: expect.stringMatching(/^The browser's storage for this page is full/),
    });
    await session.send('Storage.overrideQuotaForOrigin', { origin: new URL(page.url()).origin });
    await page.reload();
    await page.waitForSelector('html[data-ready]');
    expect(await page.textContent('#resume-text')).toMatch(/^LoRA on some\.jsonl: \d+ of 2000 steps are saved\.$/);
    expect(visits.faults).toEqual([]);
  }, 180_000);
});
