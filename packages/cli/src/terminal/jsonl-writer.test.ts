import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { JsonlWriter } from './jsonl-writer.js';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'spft-jsonl-'));
});
afterAll(() => rm(directory, { recursive: true }));

const linesOf = async (path: string) =>
  (await readFile(path, 'utf8'))
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));

describe('JsonlWriter', () => {
  it('writes each value as it comes, and replaces what was there', async () => {
    const path = join(directory, 'deep', 'a.jsonl');
    for (const values of [[{ a: 1 }, { b: 'two\nlines' }], [{ c: 3 }]]) {
      const writer = await JsonlWriter.open(path);
      for (const [n, value] of values.entries()) {
        await writer.write(value);
        expect(await linesOf(path)).toEqual(values.slice(0, n + 1));
      }
      await writer.close();
    }
  });

  it('leaves whole lines where the disk fills up in the middle of one, and says how many', async () => {
    const path = join(directory, 'full.jsonl');
    const writer = await JsonlWriter.open(path);
    await writer.write({ n: 1 });
    await writer.write({ n: 2 });
    const real = writer.file.write.bind(writer.file) as (...at: [Buffer, number, number, number]) => Promise<unknown>;
    let calls = 0;
    const full = vi.spyOn(writer.file, 'write').mockImplementation((async (...at: [Buffer, number, number, number]) => {
      // A part of the line goes to the disk, then there is no room.
      if (calls++ === 0) return real(at[0], at[1], 10, at[3]);
      throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    }) as unknown as typeof writer.file.write);
    await expect(writer.write({ n: 3, text: 'x'.repeat(100) })).rejects.toThrow(
      `${path}: the disk is full after 2 lines, which are whole and stay; make room`,
    );
    expect(await linesOf(path)).toEqual([{ n: 1 }, { n: 2 }]);
    full.mockRestore();
    // There is room again: the next line stands where the broken one began.
    await writer.write({ n: 4 });
    expect(await linesOf(path)).toEqual([{ n: 1 }, { n: 2 }, { n: 4 }]);
    await writer.close();
  });

  // A file system of 16 KiB of one's own needs a kernel that lets users mount one.
  const mounts = canMount();
  it.skipIf(!mounts)(
    `the same on a file system that is full${mounts ? '' : ' (skipped: no file system can be mounted here)'}`,
    () => {
      const bundle = join(directory, 'writer.cjs');
      buildSync({
        entryPoints: [fileURLToPath(new URL('./jsonl-writer.ts', import.meta.url))],
        ...{ bundle: true, platform: 'node', format: 'cjs', outfile: bundle },
      });
      const place = join(directory, 'mounted');
      mkdirSync(place);
      const script = `
        import { readFileSync } from 'node:fs';
        const { JsonlWriter } = (await import(${JSON.stringify(bundle)})).default;
        const path = process.argv[1] + '/a.jsonl';
        const writer = await JsonlWriter.open(path);
        let problem = '';
        try { for (let n = 0; n < 100; n++) await writer.write({ n, text: 'x'.repeat(999) }); } catch (error) { problem = error.message; }
        await writer.close();
        console.log(JSON.stringify({ problem, lines: readFileSync(path, 'utf8').split('\\n').slice(0, -1).map((line) => JSON.parse(line).n) }));`;
      const command = `mount -t tmpfs -o size=16k none "$1" && "$2" --input-type=module -e "$3" "$1"`;
      const text = execFileSync('unshare', ['-rm', 'sh', '-c', command, 'sh', place, process.execPath, script], {
        encoding: 'utf8',
      });
      const { problem, lines } = JSON.parse(text);
      expect(lines.length).toBeGreaterThan(8);
      expect(lines).toEqual(lines.map((_: number, n: number) => n));
      expect(problem).toContain(`the disk is full after ${lines.length} lines`);
    },
  );
});

function canMount(): boolean {
  try {
    execFileSync('unshare', ['-rm', 'sh', '-c', 'mount -t tmpfs -o size=16k none /mnt'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
