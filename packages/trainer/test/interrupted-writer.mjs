/**
 * @file Child process of checkpoints.test.ts: writes checkpoint 1 whole, then starts on checkpoint 2 and hangs in the middle of it, so
 * that the test can kill it there. Arguments: module to import, directory.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [module, directory] = process.argv.slice(2);
const { directoryCheckpoints, nodeFileSystem } = await import(module);
const files = new Map([
  ['a.bin', new Uint8Array(1000).fill(1)],
  ['b.bin', new Uint8Array(1000).fill(2)],
]);
let hang = false;
const fs = {
  ...nodeFileSystem,
  async writeFile(path, bytes) {
    if (hang && path.endsWith('b.bin')) {
      writeFileSync(path, bytes.subarray(0, 500));
      writeFileSync(join(directory, 'in-the-middle'), '');
      await new Promise(() => setInterval(() => {}, 1000));
    }
    await nodeFileSystem.writeFile(path, bytes);
  },
};
const store = directoryCheckpoints(directory, fs);
await store.write(1, files);
hang = true;
await store.write(2, files);
