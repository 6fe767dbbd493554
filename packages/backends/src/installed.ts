/** @file Whether an optional package is installed where the program runs, or beside this one. */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** Path of the package's entry and its version, or null when it is not installed. */
export function findPackage(name: string): { readonly entry: string; readonly version: string } | null {
  for (const from of [import.meta.url, join(process.cwd(), 'package.json')]) {
    try {
      const require = createRequire(from);
      const entry = require.resolve(name);
      return { entry, version: versionOf(entry, name) };
    } catch {
      // looked for in the next place
    }
  }
  return null;
}

function versionOf(entry: string, name: string): string {
  const require = createRequire(import.meta.url);
  for (let folder = dirname(entry); folder !== dirname(folder); folder = dirname(folder)) {
    try {
      const manifest = require(join(folder, 'package.json')) as { name?: string; version?: string };
      if (manifest.name === name && manifest.version) return manifest.version;
    } catch {
      // no manifest in this folder
    }
  }
  return 'unknown version';
}
