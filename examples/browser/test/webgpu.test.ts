/** @file The page on WebGPU, which is SwiftShader here: a GPU made of this machine's processor. */
import { describe, expect, it } from 'vitest';
import { chromiumMissing, chromiumTitle } from '../../../test/support/chromium.js';
import { ended, fill, savedLosses, settingsOf, someData, Visits } from './page.js';

const FLAGS = [
  ...['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--enable-features=Vulkan'],
  // As in backend-webgpu's tests: shaders zero workgroups' memory themselves, as SwiftShader compiles a store of each word of it.
  '--disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension',
];

describe.skipIf(chromiumMissing() !== null)(chromiumTitle('the page on WebGPU'), () => {
  const visits = new Visits(FLAGS);

  it('learns as on WebAssembly, and says that the device was lost', async () => {
    const page = await visits.open();
    const chips = await page.locator('#capabilities li').allTextContents();
    expect(chips.find((chip) => chip.includes('WebGPU'))).toMatch(/^WebGPU/);
    const settings = { ...settingsOf('sparselora'), steps: 3, batchSize: 1, saveEvery: 1 };
    const losses: number[][] = [];
    for (const backend of ['wasm', 'webgpu']) {
      await fill(page, settings, await someData());
      await page.selectOption('#backend', backend);
      await page.click('#start-button');
      const { status, error } = await ended(page);
      expect([backend, status.slice(0, 4), error]).toEqual([backend, 'Done', '']);
      losses.push(await savedLosses(page, settings.steps));
    }
    const [wasm, webgpu] = losses as [number[], number[]];
    expect(webgpu).toHaveLength(settings.steps);
    webgpu.forEach((loss, n) => {
      expect(Math.abs(loss - wasm[n]!), `step ${n + 1}: ${loss} for ${wasm[n]}`).toBeLessThan(1e-3 * wasm[n]!);
    });

    await fill(page, { ...settings, steps: 500 }, null);
    await page.click('#start-button');
    await page.waitForFunction(() => /^[2-9] \/ 500/.test(document.querySelector('#tile-step')!.textContent!));
    const session = await visits.context.browser()!.newBrowserCDPSession();
    await session.send('Browser.crashGpuProcess').catch(() => undefined);
    const { error } = await ended(page);
    expect(error).toMatch(/device .*lost/i);
    await page.reload();
    await page.waitForSelector('html[data-ready]');
    expect(await page.textContent('#resume-text')).toMatch(/^SparseLoRA on some\.jsonl: \d+ of 500 steps are saved\.$/);
    expect(visits.faults).toEqual([]);
    // Shaders are compiled for a processor, which takes most of the time.
  }, 300_000);
});
