/** @file The progress of what comes before and after the steps: loading, building, evaluating. One line that redraws itself in a terminal; elsewhere only its end. */
import type { TextOutput } from '@spft/trainer/node';

export interface Status {
  /** @param fraction 0 to 1, where it is known; `detail` stands behind it. */
  update(fraction: number | null, detail?: string): void;
  /** Ends the line with what came of it and the time it took. */
  done(result?: string): void;
  /** Clears the line: an error follows. */
  fail(): void;
}

const ERASE_LINE = '\r\x1b[2K';
/** Milliseconds between redraws. */
const INTERVAL = 100;
const CELLS = 20;

export function statusLine(label: string, stream: TextOutput | null, now = () => performance.now()): Status {
  const started = now();
  const live = stream?.isTTY === true;
  let drawnAt = Number.NEGATIVE_INFINITY;
  const draw = (text: string) => {
    stream!.write(`${ERASE_LINE}${text.slice(0, Math.max(10, (stream!.columns ?? 80) - 1))}`);
    drawnAt = now();
  };
  if (live) draw(`${label} …`);
  return {
    update(fraction, detail = '') {
      if (!live || now() - drawnAt < INTERVAL) return;
      const elapsed = (now() - started) / 1000;
      if (fraction === null) {
        draw(`${label} … ${detail}`);
        return;
      }
      const full = Math.floor(fraction * CELLS);
      const left = fraction > 0.02 ? `  ETA ${clockTime((elapsed / fraction) * (1 - fraction))}` : '';
      draw(
        `${label}  ▕${'█'.repeat(full)}${' '.repeat(CELLS - full)}▏ ${Math.floor(fraction * 100)} %${left}  ${detail}`,
      );
    },
    done(result = '') {
      const seconds = (now() - started) / 1000;
      const took = seconds < 10 ? `${seconds.toFixed(1)} s` : clockTime(seconds);
      stream?.write(`${live ? ERASE_LINE : ''}${label}${result === '' ? '' : `: ${result}`} (${took})\n`);
    },
    fail() {
      if (live) stream!.write(ERASE_LINE);
    },
  };
}

/** `1:05`. The trainer has the same, but imports tfjs, for which `spft --help` should not have to wait. */
function clockTime(seconds: number): string {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`;
}
