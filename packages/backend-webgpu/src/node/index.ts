/**
 * @file `@spft/backend-webgpu/node`: WebGPU where there is no browser, by npm's package `webgpu` (Dawn, which drives Vulkan, Metal or Direct3D).
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { assertKnownOptions } from '@spft/safetensors/internals';
import { WebGPUError } from '../errors.js';

export { startError } from '../start-error.js';

/** What is used of the package. */
interface WebGPUPackage {
  create?(flags: string[]): object;
  readonly globals?: object;
}

export type WebGPUProbe =
  | { readonly available: true; readonly detail: string }
  | { readonly available: false; readonly reason: string; readonly hint: string };

export interface ProvideOptions {
  /** For Dawn, `name=value`: `backend=vulkan`, `enable-dawn-features=…`. */
  readonly flags?: readonly string[];
}

const isProvided = () => 'gpu' in (globalThis.navigator ?? {});

/** The package's entry and version, as installed beside this one or where the program runs; null where it is not. */
function findDawn(): { readonly entry: string; readonly version: string } | null {
  for (const from of [import.meta.url, join(process.cwd(), 'package.json')]) {
    try {
      const entry = createRequire(from).resolve('webgpu');
      const manifest = JSON.parse(readFileSync(join(dirname(entry), 'package.json'), 'utf8')) as Record<string, string>;
      // Another package may go by its name, where a project keeps it out by an override.
      if (manifest.name === 'webgpu') return { entry, version: manifest.version! };
    } catch {
      // Looked for in the next place.
    }
  }
  return null;
}

/** Whether there is an implementation of WebGPU; whether it finds a GPU shows when the backend is started. Loads nothing. */
export function probeWebGPU(): WebGPUProbe {
  if (isProvided()) return { available: true, detail: 'navigator.gpu' };
  const dawn = findDawn();
  if (dawn) return { available: true, detail: `Dawn of webgpu ${dawn.version}` };
  return {
    available: false,
    reason: "Node has no WebGPU, and the package 'webgpu' is not installed",
    hint: 'npm install webgpu',
  };
}

/**
 * Sets `navigator.gpu` and WebGPU's globals, unless they are there.
 * @throws WebGPUError where the package is missing or does not load.
 */
export async function provideWebGPU(options: ProvideOptions = {}): Promise<void> {
  assertKnownOptions('provideWebGPU', options, { flags: true });
  const { flags = [] } = options;
  if (isProvided()) return;
  const dawn = findDawn();
  if (!dawn) {
    throw new WebGPUError(
      'no-webgpu',
      "the package 'webgpu' is wanted for WebGPU in Node and not installed: npm install webgpu",
    );
  }
  const { create, globals } = await load(dawn.entry);
  Object.assign(globalThis, globals);
  const gpu = create([...flags]);
  const given = globalThis as { navigator?: object };
  if (given.navigator) Object.defineProperty(given.navigator, 'gpu', { value: gpu, configurable: true });
  else Object.defineProperty(globalThis, 'navigator', { value: { gpu }, configurable: true });
}

async function load(entry: string): Promise<Required<WebGPUPackage>> {
  try {
    const { create, globals } = (await import(/* @vite-ignore */ pathToFileURL(entry).href)) as WebGPUPackage;
    if (!create || !globals) throw new Error('it has no create() or globals');
    return { create, globals };
  } catch (cause) {
    throw new WebGPUError(
      'no-webgpu',
      `the package 'webgpu' does not load here: ${(cause as Error).message.split('\n')[0]}; it has binaries for Linux, macOS and Windows`,
      { cause },
    );
  }
}
