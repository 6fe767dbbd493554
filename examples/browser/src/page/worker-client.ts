/** @file The page's side of the worker: requests as promises, events to a listener. */
import type { Failure, FromWorker, RequestName, Requests, WorkerEvent } from '../protocol.js';

/** What the worker answered instead of giving what was asked for. */
export class RequestError extends Error {
  override readonly name = 'RequestError';
  readonly code: string | null;

  constructor({ message, code }: Failure) {
    super(message);
    this.code = code;
  }
}

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class WorkerClient {
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  #next = 0;

  /** @param onEvent told what the worker says by itself. */
  constructor(script: URL, onEvent: (event: WorkerEvent) => void) {
    this.#worker = new Worker(script, { type: 'module', name: 'spft' });
    this.#worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
      if ('event' in data) {
        onEvent(data);
        return;
      }
      const pending = this.#pending.get(data.id);
      this.#pending.delete(data.id);
      if ('failure' in data) pending?.reject(new RequestError(data.failure));
      else pending?.resolve(data.give);
    };
    this.#worker.onerror = ({ message }) => {
      const error = new Error(
        `The worker ended (${message || 'its script cannot be loaded'}); reload the page to resume.`,
      );
      for (const { reject } of this.#pending.values()) reject(error);
      this.#pending.clear();
    };
  }

  request<Name extends RequestName>(name: Name, ask: Requests[Name]['ask']): Promise<Requests[Name]['give']> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve: resolve as (value: unknown) => void, reject });
      this.#worker.postMessage({ id, name, ask });
    });
  }
}
