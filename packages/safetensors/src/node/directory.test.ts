import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeDirectory } from './directory.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'spft-directory-'));
});
afterAll(() => rm(root, { recursive: true }));

describe('makeDirectory()', () => {
  it('makes all that is missing, and minds nothing that is there', async () => {
    const path = join(root, 'a', 'b', 'c');
    await Promise.all([makeDirectory(path), makeDirectory(path), makeDirectory(join(root, 'a', 'b', 'd'))]);
    await makeDirectory(path);
    await symlink(join(root, 'a'), join(root, 'link'));
    await makeDirectory(join(root, 'link'));
    expect((await readdir(join(root, 'a', 'b'))).sort()).toEqual(['c', 'd']);
    await makeDirectory('/');
    await makeDirectory('.');
  });

  it('is done by several at once, whoever makes which of those above', async () => {
    for (let n = 0; n < 300; n++) {
      const at = (leaf: string) => makeDirectory(join(root, `${n}`, 'a', 'b', 'c', leaf));
      await Promise.all(['d', 'd', 'e', 'f'].map(at));
    }
    expect((await readdir(join(root, '299', 'a', 'b', 'c'))).sort()).toEqual(['d', 'e', 'f']);
  });

  it('says what is in its way', async () => {
    await writeFile(join(root, 'file'), '');
    await expect(makeDirectory(join(root, 'file'))).rejects.toMatchObject({ code: 'EEXIST', path: join(root, 'file') });
    await expect(makeDirectory(join(root, 'file', 'x'))).rejects.toMatchObject({ code: 'ENOTDIR' });
  });

  it.skipIf(!existsSync('/proc/self/stat'))(
    'ends where a file system takes no directories and says that there is none',
    async () => {
      await expect(makeDirectory('/proc/spft')).rejects.toMatchObject({ code: 'ENOENT', path: '/proc/spft' });
      await expect(makeDirectory('/proc/spft/run')).rejects.toMatchObject({ code: 'ENOENT', path: '/proc/spft' });
    },
  );
});
