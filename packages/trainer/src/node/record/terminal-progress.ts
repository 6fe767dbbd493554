/**
 * @file Progress in a terminal: one line that redraws itself, or plain lines where the output is a file or a pipe.
 */
import { assertKnownOptions } from '@spft/safetensors/internals';
import { type ProgressSink, type ProgressUpdate, progressLine } from '../../record/progress.js';

/** What is needed of `process.stderr`. */
export interface TextOutput {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export interface TerminalProgressOptions {
  /** Stands at the head of each line, e.g. the method. */
  readonly label?: string;
  readonly output?: TextOutput;
  /** Milliseconds between redraws. */
  readonly interval?: number;
  /** Milliseconds that never go back. */
  readonly now?: () => number;
}

const ERASE_LINE = '\r\x1b[2K';

export function terminalProgress(options: TerminalProgressOptions = {}): ProgressSink {
  assertKnownOptions('terminalProgress', options, { label: true, output: true, interval: true, now: true });
  const { label, output = process.stderr, interval = 100, now = () => performance.now() } = options;
  const live = output.isTTY === true;
  let shown = '';
  let drawnAt = Number.NEGATIVE_INFINITY;
  let latest: ProgressUpdate | null = null;

  const draw = (progress: ProgressUpdate) => {
    shown = progressLine(progress, { label, width: output.columns ?? 80 });
    drawnAt = now();
    output.write(`${ERASE_LINE}${shown}`);
  };
  /** A line of its own, above the bar. */
  const say = (line: string) => {
    output.write(`${live && shown ? ERASE_LINE : ''}${line}\n`);
    if (live && shown) output.write(shown);
  };

  return {
    start({ step, totalSteps }) {
      latest = null;
      if (!live) say(`${label ? `${label}: ` : ''}${step === 0 ? '' : `from step ${step}, `}${totalSteps} steps`);
    },
    update(progress) {
      latest = progress;
      if (live && (now() - drawnAt >= interval || progress.step === progress.totalSteps)) draw(progress);
    },
    log(logs, progress) {
      latest = progress;
      const metrics = Object.entries(logs).filter(
        ([name]) => name.startsWith('eval_') && !/runtime|per_second/.test(name),
      );
      if (metrics.length > 0) {
        say(
          `step ${progress.step}: ${metrics.map(([name, value]) => `${name} ${Number(value.toPrecision(5))}`).join('  ')}`,
        );
      } else if (!live && logs.loss !== undefined) {
        say(progressLine(progress, { label, width: 120 }));
      }
    },
    note: say,
    stop() {
      if (live && latest) {
        draw(latest);
        output.write('\n');
      }
      shown = '';
      latest = null;
    },
  };
}
