/**
 * @file Two trainings at once, a step of one and a step of the other in turn: whatever else the machine does then hits both alike, and their
 * seconds a step can be compared. With one line of progress for both.
 */
import { clockTime, type ProgressSink, type ProgressUpdate, type TrainerCallback } from '@spft/trainer';

/** Callbacks for `count` trainers that run at once: each waits with its step until it is its turn. Give each as its trainer's last. */
export function takeTurns(count: number): TrainerCallback[] {
  const waiting = new Map<number, () => void>();
  const training = new Set(Array.from({ length: count }, (_, member) => member));
  let turn = 0;
  const pass = () => {
    if (training.size === 0) return;
    do turn = (turn + 1) % count;
    while (!training.has(turn));
    waiting.get(turn)?.();
    waiting.delete(turn);
  };
  return [...training].map((member) => ({
    async onStepBegin() {
      if (turn !== member) await new Promise<void>((resolve) => waiting.set(member, resolve));
    },
    onStepEnd: pass,
    onTrainEnd() {
      training.delete(member);
      if (turn === member) pass();
    },
  }));
}

/** What is needed of `process.stderr`. */
interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

const BAR = 30;
/** Steps between two lines where there is no terminal. */
const PLAIN_EVERY = 10;

/** Progress of several trainings of equal length in one line: a bar for the slowest, each one's loss, the time to go. */
export function sharedProgress(names: readonly string[], output: Output = process.stderr): ProgressSink[] {
  const live = output.isTTY === true;
  const at = new Map<string, ProgressUpdate>();

  const line = (): string => {
    const updates = [...at.values()];
    const { step, totalSteps } = updates.reduce((slowest, update) => (update.step < slowest.step ? update : slowest));
    const filled = Math.round((BAR * step) / totalSteps);
    const losses = names.map((name) => `${name} ${at.get(name)?.loss?.toFixed(3) ?? '–'}`).join('  ');
    const eta = clockTime(Math.max(...updates.map((update) => update.etaSeconds ?? 0)));
    return `${String(step).padStart(4)}/${totalSteps} ${'█'.repeat(filled)}${'░'.repeat(BAR - filled)} loss: ${losses}  ETA ${eta}`;
  };

  return names.map((name, index) => {
    const isLast = index === names.length - 1;
    return {
      start() {},
      update(update) {
        at.set(name, update);
        if (!isLast || at.size < names.length) return;
        if (live) output.write(`\r\x1b[2K${line()}`);
        else if (update.step % PLAIN_EVERY === 0) output.write(`${line()}\n`);
      },
      log() {},
      note(message) {
        output.write(`${live ? '\r\x1b[2K' : ''}${name}: ${message}\n`);
      },
      stop() {
        if (isLast && live) output.write('\r\x1b[2K');
      },
    };
  });
}
