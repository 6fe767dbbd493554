/** @file What `changeset version` would make of the changesets as they lie here, in a copy. */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const run = promisify(execFile);

let copy: string;

const manifest = async (folder: string) =>
  JSON.parse(await readFile(join(copy, folder, 'package.json'), 'utf8')) as { name: string; version: string };

const folders = async (parent: string) =>
  (await readdir(parent, { withFileTypes: true })).flatMap((entry) =>
    entry.isDirectory() ? `${parent}/${entry.name}` : [],
  );

describe('changeset version', () => {
  beforeAll(async () => {
    copy = await mkdtemp(join(tmpdir(), 'spft-release-'));
    await run('git', ['clone', '--quiet', '--depth', '1', `file://${process.cwd()}`, copy]);
    await symlink(join(process.cwd(), 'node_modules'), join(copy, 'node_modules'));
    await run(process.execPath, [join(process.cwd(), 'node_modules/@changesets/cli/bin.js'), 'version'], { cwd: copy });
  });

  afterAll(() => rm(copy, { recursive: true, force: true }));

  it('gives every package its first version, 0.1.0, and a CHANGELOG', async () => {
    for (const folder of await folders('packages')) {
      const { name, version } = await manifest(folder);
      expect(version, name).toBe('0.1.0');
      expect(await readFile(join(copy, folder, 'CHANGELOG.md'), 'utf8')).toContain('## 0.1.0');
    }
  });

  it('leaves private examples alone', async () => {
    const { stdout } = await run('git', ['status', '--porcelain', 'examples', 'package.json'], { cwd: copy });
    expect(stdout).toBe('');
  });
});
