import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { BASE, scratch } from './run-cli.js';

const bin = fileURLToPath(new URL('../bin/spft.js', import.meta.url));
const program = fileURLToPath(new URL('../dist/bin.js', import.meta.url));
const files = scratch();

interface Ended {
  readonly code: number | null;
  readonly stderr: string;
}

/** `spft train` as a process of its own. */
function train(out: string, steps: number, ...more: string[]): { child: ChildProcess; ended: Promise<Ended> } {
  const argv = [
    ...[bin, 'train', '--backend', 'wasm', '--model', BASE, '--dataset', files.train, '--output_dir', files.path(out)],
    ...['--max_steps', String(steps), '--per_device_train_batch_size', '1', '--logging_steps', '1', ...more],
  ];
  const { npm_command: _, npm_lifecycle_event: __, ...env } = process.env;
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'pipe'], env });
  let stderr = '';
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const ended = new Promise<Ended>((resolve) => child.on('close', (code) => resolve({ code, stderr })));
  return { child, ended };
}

/** Waits until a file is there; ends with the process. */
async function fileOf(out: string, name: string, ended: Promise<Ended>): Promise<void> {
  let over = false;
  void ended.then(() => {
    over = true;
  });
  while (!over && !existsSync(files.path(out, name))) await new Promise((resolve) => setTimeout(resolve, 20));
}

describe.skipIf(!existsSync(program))('spft train as a process (needs npm run build)', () => {
  it('trains on where whoever read its output has gone', async () => {
    const { child, ended } = train('gone', 8);
    child.stderr!.once('data', () => {
      child.stderr!.destroy();
      child.stdout!.destroy();
    });
    expect((await ended).code).toBe(0);
    expect(await readdir(files.path('gone'))).toEqual(
      expect.arrayContaining(['adapter_model.safetensors', 'checkpoint-8', 'report.html']),
    );
  }, 60_000);

  it.skipIf(process.platform === 'win32')(
    'writes a checkpoint when its terminal is closed, from which it goes on',
    async () => {
      const { child, ended } = train('closed', 2000, '--save_steps', '1000000');
      await fileOf('closed', 'log.jsonl', ended);
      child.kill('SIGHUP');
      const { code, stderr } = await ended;
      expect(code, stderr).toBe(129);
      const [, step] = /interrupted after step (\d+) of 2000/.exec(stderr)!;
      const names = await readdir(files.path('closed'));
      expect(names).toContain(`checkpoint-${step}`);
      expect(names.filter((name) => name.startsWith('.'))).toEqual([]);
      const resumed = train('closed', Number(step) + 1, '--resume_from_checkpoint', 'true');
      expect((await resumed.ended).code).toBe(0);
    },
    60_000,
  );

  it('keeps a second run out of its output_dir until it ends, and gives way when it was killed', async () => {
    const first = train('shared', 2000, '--save_steps', '1');
    await fileOf('shared', 'checkpoint-1', first.ended);
    for (const more of [[], ['--resume_from_checkpoint', 'true'], ['--overwrite_output_dir']]) {
      const { code, stderr } = await train('shared', 1, ...more).ended;
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: expect.stringContaining(`${files.path('shared')} is in use by process ${first.child.pid} on `),
      });
    }
    first.child.kill('SIGKILL');
    await first.ended;
    // Half a line, as a kill in the middle of it leaves it.
    const log = await readFile(files.path('shared', 'log.jsonl'), 'utf8');
    expect(log.trimEnd().split('\n').length).toBeGreaterThan(1);
    const { code, stderr } = await train('shared', 1, '--overwrite_output_dir').ended;
    expect(code, stderr).toBe(0);
    const left = await readdir(files.path('shared'));
    expect(left.filter((name) => name.startsWith('.'))).toEqual([]);
  }, 90_000);
});
