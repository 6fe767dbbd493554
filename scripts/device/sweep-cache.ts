/**
 * @file The cache of `cuda` after processes that shared it: `sweep-cache.js check DIR` fails unless every file is what was written and none is left over;
 * `spoil DIR` does to them what a full disk, a killed process and another machine's cache would.
 */
import { readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readCached } from '../../packages/backend-cuda/src/device/cache-files.js';

const [mode, folder] = process.argv.slice(2) as ['check' | 'spoil', string];
const files = readdirSync(folder).sort();
const kinds = `${files.filter((name) => name.endsWith('.cubin')).length} kernels, ${files.filter((name) => name.endsWith('.json')).length} files of choices`;
if (mode === 'spoil') {
  files.forEach((name, n) => {
    const path = join(folder, name);
    if (n % 4 === 0) truncateSync(path, 0);
    else if (n % 4 === 1) truncateSync(path, Math.floor(readFileSync(path).length / 2));
    else if (n % 4 === 2) writeFileSync(path, 'garbage');
  });
  console.log(`three of four files spoilt, of ${kinds}`);
} else {
  const bad = files.filter((name) => !/\.(cubin|json)$/.test(name) || readCached(join(folder, name)) === null);
  console.log(
    `${kinds}${bad.length > 0 ? `; not as written, or left over: ${bad.slice(0, 5).join(', ')}` : ', all as written'}`,
  );
  process.exitCode = bad.length > 0 || files.length === 0 ? 1 : 0;
}
