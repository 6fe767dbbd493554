/**
 * @file Builds the emulator where it is not built yet, for tests: `SPFT_CUDA_PATH` is then to be the folder that `emulatorFolder()` returns.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SOURCES = fileURLToPath(new URL('.', import.meta.url));

/** Why the emulator cannot be built here, or null if it can. */
export function whyNoEmulator(): string | null {
  if (process.platform !== 'linux') return 'the CUDA emulator needs Linux';
  const asked = spawnSync('sh', ['-c', 'command -v "$CXX" || command -v g++']);
  return asked.status === 0 ? null : 'the CUDA emulator needs g++, or another C++ compiler in CXX';
}

/**
 * The folder with the fake libraries, below the system's temporary folder; built in some ten seconds when its sources are new. Several processes may
 * ask at the same time.
 */
export function emulatorFolder(): string {
  const hash = createHash('sha256');
  const sources = readdirSync(SOURCES).filter((name) => !/\.(ts|md)$/.test(name));
  for (const name of sources.sort()) hash.update(`${name}\0`).update(readFileSync(join(SOURCES, name)));
  const folder = join(tmpdir(), `spft-emulator-${process.getuid?.() ?? 0}-${hash.digest('hex').slice(0, 16)}`);
  execFileSync('sh', [join(SOURCES, 'build.sh'), folder], { stdio: ['ignore', 'ignore', 'inherit'] });
  return folder;
}
