/** @file A headless Chromium of the system (Debian's package `chromium`), driven by playwright-core, which downloads none. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { Browser } from 'playwright-core';
import { orRequired } from './required.js';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome'];

/** The program, or null: `SPFT_CHROMIUM`, or the first of its names on the path. */
export function chromiumPath(env: Readonly<Record<string, string | undefined>> = process.env): string | null {
  const given = env.SPFT_CHROMIUM;
  const candidates = given
    ? [given]
    : NAMES.flatMap((name) => (env.PATH ?? '').split(delimiter).map((folder) => join(folder, name)));
  return candidates.find(isExecutable) ?? null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Why tests in a browser do not run here, or null where they do. */
export function chromiumMissing(): string | null {
  const missing = 'there is no chromium; apt-get install chromium, or name one in SPFT_CHROMIUM';
  return orRequired('chromium', chromiumPath() === null ? missing : null);
}

/** A title for tests that need a browser: where there is none it says so, as they are skipped then. */
export function chromiumTitle(title: string): string {
  const missing = chromiumMissing();
  return missing ? `${title} (skipped without a browser: ${missing})` : title;
}

/** Close it when done. @param flags of the command line, e.g. for an emulated GPU. */
export async function launchChromium(flags: readonly string[] = []): Promise<Browser> {
  const { chromium } = await import('playwright-core');
  // The sandbox needs rights that a container's root does not have; what is opened are our own pages.
  const args = ['--no-sandbox', '--disable-dev-shm-usage', ...flags];
  return chromium.launch({ executablePath: chromiumPath()!, args });
}
