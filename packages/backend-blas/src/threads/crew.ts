/**
 * @file The other threads: started when first wanted, and missed when one ends.
 *
 * The backend's thread waits for a job inside of one call of a kernel, where no event of Node reaches it, so it would wait for ever for a thread
 * that ended with a chunk in hand (its heap was full, say: nothing can be caught there). Therefore the threads are started by one more, which only
 * waits for their ends and says in shared memory what it learned.
 */
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { CONTROL, type Job, STATE } from './interpreter.js';
import { endLoading } from './loading.js';

const OVERSEER = `
const { Worker, workerData } = require('node:worker_threads');
const { threads, text, data, control, states, port, died, done, working, ended } = workerData;
for (let thread = 1; thread < threads; thread++) {
  let reason = null;
  const end = (code) => {
    const before = Atomics.exchange(states, thread, ended);
    if (before === ended) return;
    port.postMessage({ thread, reason: reason ?? 'exit ' + code });
    if (before !== working) return;
    Atomics.store(control, died, thread);
    Atomics.notify(control, done);
  };
  try {
    const worker = new Worker(text, { eval: true, workerData: { ...data, thread } });
    worker.on('error', (error) => { reason = String(error && error.message || error); });
    worker.on('exit', end);
  } catch (error) {
    reason = String(error && error.message || error);
    end(1);
  }
}`;

export interface Ended {
  readonly thread: number;
  readonly reason: string;
}

export class Crew {
  readonly #overseer: Worker;
  readonly #port: MessagePort;
  readonly #endLoading: () => void;

  /**
   * @param threads this one included.
   * @param text what each other runs, which finds `data`, its number, `thread`, and `loads`, for `whileLoading`, in workerData.
   */
  constructor(threads: number, text: string, data: object, { control, states }: Pick<Job, 'control' | 'states'>) {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const loads = new Int32Array(new SharedArrayBuffer(4 * threads));
    this.#endLoading = () => endLoading(loads);
    process.on('exit', this.#endLoading);
    const marks = { died: CONTROL.died, done: CONTROL.done, working: STATE.working, ended: STATE.ended };
    this.#overseer = new Worker(OVERSEER, {
      eval: true,
      workerData: { threads, text, data: { ...data, loads }, control, states, port: port2, ...marks },
      transferList: [port2],
    });
    // Without them the work is done all the same, by fewer threads.
    this.#overseer.on('error', (error) => this.#warn(`no other thread could be started: ${error.message}`));
    this.#port.on('message', ({ thread, reason }: Ended) => this.#warn(`thread ${thread} ended: ${reason}`));
    // The process may end while they wait.
    this.#overseer.unref();
    this.#port.unref();
  }

  /** Which threads ended, and why, as far as nobody has been told; at once, without the event loop. */
  ended(): Ended[] {
    const all: Ended[] = [];
    for (;;) {
      const received = receiveMessageOnPort(this.#port) as { readonly message: Ended } | undefined;
      if (!received) return all;
      all.push(received.message);
    }
  }

  /** Ends the threads. */
  dispose(): void {
    process.off('exit', this.#endLoading);
    this.#endLoading();
    this.#port.close();
    void this.#overseer.terminate();
  }

  #warn(message: string): void {
    process.emitWarning(`backend blas: ${message}`);
  }
}
