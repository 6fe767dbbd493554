import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const signals = new URL('../dist/terminal/signals.js', import.meta.url);

/** Listens as a command does, then computes without a turn of the event loop until stdin says so, or for ever. */
const child = (blocked: boolean) => `
import { openSync, readSync, writeSync } from 'node:fs';
import { onSignals } from ${JSON.stringify(signals.href)};
const say = (text) => writeSync(1, text + '\\n');
const watch = onSignals(
  (signal, again = false, said = false) => {
    say('main ' + signal + (again ? ' again' : '') + (said ? ' said' : ''));
    if (again) process.exit(99);
  },
  (signal) => 'noted ' + signal,
);
await watch.watching;
say('ready');
if (${blocked}) readSync(0, new Uint8Array(1));
else setInterval(() => {}, 1000);
await new Promise((go) => setTimeout(go, 600));
say('over');
process.exit(0);
`;

interface Watched {
  readonly process: ChildProcess;
  /** Waits until this has been written to stdout and stderr together. */
  until(pattern: RegExp): Promise<void>;
  readonly ended: Promise<{ code: number | null; signal: string | null; text: string }>;
}

function start(blocked: boolean, env: Record<string, string> = {}): Watched {
  const { npm_command: _, npm_lifecycle_event: __, ...rest } = process.env;
  const child_ = spawn(process.execPath, ['--input-type=module', '-e', child(blocked)], { env: { ...rest, ...env } });
  let text = '';
  const waiting: (() => void)[] = [];
  const add = (chunk: Buffer) => {
    text += chunk;
    for (const check of waiting) check();
  };
  child_.stdout.on('data', add);
  child_.stderr.on('data', add);
  return {
    process: child_,
    until: (pattern) =>
      new Promise((resolve) => {
        const check = () => pattern.test(text) && resolve();
        waiting.push(check);
        check();
      }),
    ended: new Promise((resolve) => child_.on('close', (code, signal) => resolve({ code, signal, text }))),
  };
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe.skipIf(!existsSync(fileURLToPath(signals)) || process.platform === 'win32')(
  'onSignals() (needs npm run build)',
  () => {
    it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
      'says that %s was heard while the main thread computes',
      async (signal) => {
        const run = start(true);
        await run.until(/ready/);
        run.process.kill(signal);
        await run.until(new RegExp(`noted ${signal}`));
        run.process.stdin!.end('x');
        const { code, text } = await run.ended;
        expect(code).toBe(0);
        expect(text).toBe(`ready\nnoted ${signal}\nmain ${signal} said\nover\n`);
      },
    );

    it('ends at a second Ctrl-C while the main thread computes', async () => {
      const run = start(true);
      await run.until(/ready/);
      run.process.kill('SIGINT');
      await pause(40);
      run.process.kill('SIGINT');
      expect(await run.ended).toMatchObject({ signal: 'SIGKILL', text: expect.not.stringContaining('over') });
    });

    it('tells the main thread of a second one where that can hear', async () => {
      const run = start(false);
      await run.until(/ready/);
      run.process.kill('SIGINT');
      await run.until(/main SIGINT/);
      await pause(40);
      run.process.kill('SIGTERM');
      expect(await run.ended).toMatchObject({ code: 99, text: expect.stringContaining('main SIGTERM again') });
    });

    it('takes for one what npm hands on, and what a closing terminal repeats', async () => {
      const npm = start(true, { npm_command: 'exec' });
      await npm.until(/ready/);
      npm.process.kill('SIGINT');
      await pause(40);
      npm.process.kill('SIGINT');
      await npm.until(/noted/);
      npm.process.stdin!.end('x');
      expect(await npm.ended).toMatchObject({ code: 0, text: expect.stringContaining('over') });

      const closed = start(true);
      await closed.until(/ready/);
      closed.process.kill('SIGHUP');
      await pause(40);
      closed.process.kill('SIGHUP');
      await closed.until(/noted/);
      closed.process.stdin!.end('x');
      expect(await closed.ended).toMatchObject({ code: 0, text: expect.stringContaining('over') });
    });
  },
);
