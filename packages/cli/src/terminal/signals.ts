/**
 * @file Signals that ask a command to end, heard while a step computes too.
 *
 * A step computes in one go, and the main thread hears nothing until it is over. A worker therefore watches with it: it says at once that the
 * signal was heard, and ends the process at a second one where the main thread does not. Node gives workers no `process.on('SIGINT')`, though
 * the event loop of each can watch signals: the worker takes Node's own binding for it, which is internal. Where that is not to be had, the main
 * thread hears as well as it can.
 */
import { constants } from 'node:os';
import { Worker } from 'node:worker_threads';

export type InterruptSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP';

/**
 * @param again not the first: whoever sent it wants the process to end at once.
 * @param said the note was printed already.
 */
export type InterruptListener = (signal: InterruptSignal, again?: boolean, said?: boolean) => void;

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const satisfies readonly InterruptSignal[];

/**
 * Milliseconds within which two signals are one: nobody presses a key twice so fast. npm and npx hand on to their child what the terminal has sent to
 * it already.
 */
const echoTime = (): number => (process.env.npm_command || process.env.npm_lifecycle_event ? 500 : 10);

/** Places in the memory that both threads share. */
const [HEARD, SAID, AGAIN] = [0, 1, 2];

export interface SignalWatch {
  /** Takes the listener back. */
  forget(): void;
  /** Whether the worker listens, once that is known. */
  readonly watching: Promise<boolean>;
}

/** @param note what to say at the first signal where the main thread does not; nothing where it is empty. */
export function onSignals(listener: InterruptListener, note: (signal: string) => string = () => ''): SignalWatch {
  const state = new Int32Array(new SharedArrayBuffer(12));
  const echo = echoTime();
  const worker = watchFromWorker(state, note, echo);
  let first = Number.NEGATIVE_INFINITY;
  const heard = (signal: NodeJS.Signals) => {
    const now = performance.now();
    if (Atomics.exchange(state, HEARD!, 1) === 0) {
      first = now;
      listener(signal as InterruptSignal, false, Atomics.exchange(state, SAID!, 1) === 1);
    } else if (isSecond(signal) && (Atomics.load(state, AGAIN!) === 1 || now - first >= echo)) {
      listener(signal as InterruptSignal, true, true);
    }
  };
  for (const signal of SIGNALS) process.on(signal, heard);
  return {
    forget() {
      for (const signal of SIGNALS) process.off(signal, heard);
      void worker?.terminate();
    },
    watching: new Promise((resolve) => {
      if (worker === null) resolve(false);
      worker?.once('message', () => resolve(true)).once('exit', () => resolve(false));
    }),
  };
}

/** A terminal that goes may send more than one SIGHUP, and nobody waits at it. */
const isSecond = (signal: string): boolean => signal !== 'SIGHUP';

function watchFromWorker(state: Int32Array, note: (signal: string) => string, echo: number): Worker | null {
  const signals = SIGNALS.map((name) => ({
    name,
    number: constants.signals[name],
    note: note(name),
    ends: isSecond(name),
  }));
  try {
    const worker = new Worker(WATCH, {
      eval: true,
      execArgv: ['--expose-internals', '--no-warnings'],
      workerData: { state, signals, echo },
      env: {},
      resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 },
    });
    worker.on('error', () => undefined);
    worker.unref();
    return worker;
  } catch {
    return null;
  }
}

/** Waits a moment for the main thread before it does its work. */
const WATCH = `
const { writeSync } = require('node:fs');
const { parentPort, workerData } = require('node:worker_threads');
const { Signal } = require('internal/test/binding').internalBinding('signal_wrap');
const { state, signals, echo } = workerData;
let first = -Infinity;
for (const { name, number, note, ends } of signals) {
  const signal = new Signal();
  signal.onsignal = () => {
    const now = performance.now();
    if (first === -Infinity) {
      first = now;
      setTimeout(() => {
        if (Atomics.load(state, ${HEARD}) === 1 || Atomics.exchange(state, ${SAID}, 1) === 1 || note === '') return;
        try { writeSync(2, note + '\\n'); } catch {}
      }, 50);
    } else if (ends && now - first >= echo) {
      Atomics.store(state, ${AGAIN}, 1);
      setTimeout(() => process.kill(process.pid, 'SIGKILL'), 300);
    }
  };
  signal.start(number);
}
parentPort.postMessage('watching');
`;
