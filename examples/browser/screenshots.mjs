/**
 * @file Makes the README's pictures: `npm run build`, then `node examples/browser/screenshots.mjs`. Needs a Chromium (`SPFT_CHROMIUM`, or `chromium` on the path).
 */
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { pageServer } from './serve.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const server = pageServer(here('dist'));
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const browser = await chromium.launch({
  executablePath: process.env.SPFT_CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox'],
});
const page = await browser.newPage({ viewport: { width: 1180, height: 900 } });
await page.goto(`http://localhost:${server.address().port}/`);
await page.waitForSelector('html[data-ready]');
const until = (id, pattern) =>
  page.waitForFunction(
    ([at, source]) => new RegExp(source).test(document.querySelector(at).textContent),
    [id, pattern],
    {
      timeout: 300_000,
    },
  );
await page.click('#sample-button');
await until('#data-hint', 'kB');
for (const method of ['lora', 'sparselora']) {
  await page.check(`input[value="${method}"]`);
  await page.fill('#steps', '60');
  await page.click('#start-button');
  await until('#status', '^Done');
}
await page.fill(
  '#question',
  'Ella has 11 eggs. Jack has 1 book. Ella wins 6 more eggs. Ella hides 9 eggs. How many eggs does Ella have now?',
);
await page.click('#ask-button');
await page.waitForSelector('#ask-button:not(:disabled)', { timeout: 60_000 });
await page.evaluate(() => globalThis.scrollTo(0, 0));
const shoot = (name) =>
  page.screenshot({ path: here(`images/${name}.jpg`), type: 'jpeg', quality: 72, fullPage: true });
await shoot('light');
await page.emulateMedia({ colorScheme: 'dark' });
await page.setViewportSize({ width: 400, height: 860 });
await page.waitForTimeout(500);
await shoot('narrow-dark');
await browser.close();
server.close();
