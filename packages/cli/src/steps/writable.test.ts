import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { requireWritable } from './writable.js';

const refusals = vi.hoisted(() => new Map<string, string>());
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  const access: typeof real.access = (path, mode) => {
    const code = refusals.get(String(path));
    return code ? Promise.reject(Object.assign(new Error(code), { code, path })) : real.access(path, mode);
  };
  return { ...real, access };
});

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'spft-writable-'));
  await mkdir(join(root, 'there'));
  await writeFile(join(root, 'file'), '');
});
afterAll(() => rm(root, { recursive: true }));

describe('requireWritable()', () => {
  it('looks at what is there, or would be above it, and writes nothing', async () => {
    for (const path of ['there', 'there/a/b', 'file']) await requireWritable(join(root, path), 'x', 'y');
    expect((await readdir(root)).sort()).toEqual(['file', 'there']);
  });

  it.each([
    ['EROFS', 'the file system is read-only'],
    ['EACCES', 'permission denied'],
  ])('says what is refused, why, and what to do: %s', async (code, reason) => {
    refusals.set(join(root, 'there'), code);
    await expect(requireWritable(join(root, 'there'), 'output_dir', 'name another --output_dir')).rejects.toThrow(
      `output_dir ${root}/there cannot be written: ${reason}; name another --output_dir`,
    );
    await expect(requireWritable(join(root, 'there', 'a', 'b'), '--out', 'name another')).rejects.toThrow(
      `--out ${root}/there/a/b cannot be written: ${reason} (${root}/there); name another`,
    );
    refusals.clear();
  });

  it('sees a file in the way', async () => {
    await expect(requireWritable(join(root, 'file', 'x'), '--out', 'name another')).rejects.toThrow(
      'cannot be written: a part of this path is a file, not a directory; name another',
    );
  });
});
