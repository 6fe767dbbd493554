import { describe, expect, it } from 'vitest';
import { clockTime, type ProgressUpdate, progressLine } from '../../record/progress.js';
import { terminalProgress } from './terminal-progress.js';

const at = (step: number): ProgressUpdate => ({
  step,
  totalSteps: 200,
  epoch: 0.5,
  loss: 1.23456,
  learningRate: 2.9e-4,
  tokensPerSecond: 3210.4,
  etaSeconds: 65,
});

function recorder(isTTY: boolean) {
  const written: string[] = [];
  return { written, output: { write: (text: string) => written.push(text), isTTY, columns: 100 } };
}

describe('progressLine()', () => {
  it('shows step, share, loss, rate, speed and time to go', () => {
    expect(progressLine(at(50), { label: 'lora', width: 120 })).toBe(
      'lora   50/200   25 %  ▕██████                  ▏ loss 1.2346  lr 2.9e-4  3,210 tok/s  ETA 1:05',
    );
  });

  it('drops the bar, then cuts, where the terminal is narrow', () => {
    expect(progressLine(at(50), { width: 62 })).toBe(' 50/200   25 %  loss 1.2346  lr 2.9e-4  3,210 tok/s  ETA 1:05');
    expect(progressLine(at(50), { width: 20 })).toHaveLength(19);
  });

  it('says nothing of what is not known yet', () => {
    const line = progressLine({ ...at(0), loss: null, tokensPerSecond: null, etaSeconds: null }, { width: 30 });
    expect(line).toBe('  0/200    0 %  lr 2.9e-4');
  });
});

describe('clockTime()', () => {
  it('shows hours only where there are any', () => {
    expect([0, 59.6, 3600 + 62].map(clockTime)).toStrictEqual(['0:00', '1:00', '1:01:02']);
  });
});

describe('terminalProgress()', () => {
  it('redraws one line in a terminal, not too often, and keeps notes above it', () => {
    const { written, output } = recorder(true);
    let time = 0;
    const bar = terminalProgress({ output, interval: 100, now: () => time });
    bar.start({ step: 0, totalSteps: 200 });
    bar.update(at(1));
    time = 50;
    bar.update(at(2));
    expect(written).toHaveLength(1);
    expect(written[0]!.startsWith('\r\x1b[2K  1/200')).toBe(true);
    bar.note('hello');
    expect(written.slice(1).join('')).toBe(`\r\x1b[2Khello\n${written[0]!.slice(5)}`);
    bar.stop();
    const end = written.slice(3).join('');
    expect(end.startsWith('\r\x1b[2K  2/200') && end.endsWith('\n')).toBe(true);
  });

  it('writes plain lines to a file: at log lines, evaluations and notes', () => {
    const { written, output } = recorder(false);
    const bar = terminalProgress({ output, label: 'lora' });
    bar.start({ step: 40, totalSteps: 200 });
    bar.update(at(50));
    bar.log({ loss: 1.2 }, at(50));
    bar.log({ eval_loss: 1.234567, eval_runtime: 3 }, at(50));
    bar.note('hello');
    bar.stop();
    expect(written).toStrictEqual([
      'lora: from step 40, 200 steps\n',
      expect.stringMatching(/^lora {3}50\/200 .* ETA 1:05\n$/),
      'step 50: eval_loss 1.2346\n',
      'hello\n',
    ]);
  });
});
