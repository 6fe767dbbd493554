/**
 * @file Other threads, in Node and in browsers. Node's module for them is asked for by name at run time, so that a bundle for a browser does not look for it.
 */

/** More would wait for memory more than they compute. */
const MOST_THREADS = 16;

/** A thread that was started. */
export interface StartedThread {
  end(): void;
}

interface NodeWorker {
  unref(): void;
  on(event: 'error', listener: (error: Error) => void): void;
  terminate(): unknown;
}

interface NodeThreads {
  readonly Worker: new (text: string, options: { readonly eval: true; readonly workerData: unknown }) => NodeWorker;
}

interface NodeProcess {
  /** Node 20.16, 22.3 and newer. */
  getBuiltinModule?: {
    (name: 'node:worker_threads'): NodeThreads;
    (name: 'node:os'): { availableParallelism(): number };
  };
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly versions?: { readonly node?: string };
}

const nodeProcess = (): NodeProcess | null => {
  const { process } = globalThis as { readonly process?: NodeProcess };
  return process?.versions?.node ? process : null;
};

/** Why this engine, or this place in it, can have no other threads work for it; null where it can. */
export function whyNoThreads(): string | null {
  if (typeof SharedArrayBuffer === 'undefined') {
    return 'memory cannot be shared here: the page must be served with Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp';
  }
  const process = nodeProcess();
  if (process) return process.getBuiltinModule ? null : 'Node 20.16, 22.3 or newer is needed for threads';
  if (typeof Worker === 'undefined') return 'this engine has no workers';
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 0);
    return null;
  } catch {
    return "a page's own thread may not wait for others: train in a worker";
  }
}

/**
 * As many threads as this machine gives us; in Node `SPFT_THREADS` says otherwise. 1 where there can be no others.
 * @throws RangeError where SPFT_THREADS is no whole number above 0.
 */
export function defaultThreads(): number {
  if (whyNoThreads() !== null) return 1;
  const process = nodeProcess();
  const asked = process?.env?.SPFT_THREADS;
  if (asked) {
    const wanted = Number(asked);
    if (Number.isSafeInteger(wanted) && wanted > 0) return Math.min(wanted, MOST_THREADS);
    throw new RangeError(`SPFT_THREADS is '${asked}'; wanted a whole number of at least 1`);
  }
  const cores = process ? process.getBuiltinModule!('node:os').availableParallelism() : navigator.hardwareConcurrency;
  return Math.max(1, Math.min(cores || 1, MOST_THREADS));
}

/**
 * @param text of the thread: an expression that is a function of `data`. It must not return.
 * @param failed is told why the thread could not start, or ended; it may never be.
 */
export function startThread(text: string, data: unknown, failed: (reason: string) => void): StartedThread {
  const process = nodeProcess();
  if (process) {
    const { Worker } = process.getBuiltinModule!('node:worker_threads');
    const worker = new Worker(`(${text})(require('node:worker_threads').workerData);`, {
      eval: true,
      workerData: data,
    });
    worker.on('error', ({ message }) => failed(message));
    // The process may end while it waits.
    worker.unref();
    return { end: () => void worker.terminate() };
  }
  const url = URL.createObjectURL(
    new Blob([`onmessage = ({ data }) => (${text})(data);`], { type: 'text/javascript' }),
  );
  const worker = new Worker(url);
  worker.onerror = ({ message }) => failed(message || 'it could not be started');
  worker.postMessage(data);
  return {
    end: () => {
      worker.terminate();
      URL.revokeObjectURL(url);
    },
  };
}
