/** @file `Collective` for the caller's thread: what it asks for is done by the thread of the collective (`main.ts`), beside the caller's own work. */
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';
import type { Collective, Handle, Summable } from '../collective/collective.js';
import { type Operation, type Part, type Result, sumOperation } from '../collective/room.js';
import { DistributedError } from '../errors.js';
import type { Peer } from '../tcp/handshake.js';
import { type FromThread, type PlainError, speakerOf, type ThreadSetup, type ToThread } from './protocol.js';

interface Waiting {
  resolve(result: Result): void;
  reject(error: Error): void;
}

export class ThreadCollective implements Collective {
  readonly name: 'mpi' | 'tcp';
  readonly rank: number;
  readonly size: number;
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #counter: Int32Array;
  readonly #waiting = new Map<number, Waiting>();
  #calls = 0;
  #error: DistributedError | null = null;
  #lost: number | undefined;
  #said = false;
  #peers: readonly Peer[] = [];
  #carriedBy = '';
  #onEnd: (error: DistributedError) => void = () => {};
  readonly #ready: Promise<void>;
  readonly #exited: Promise<void>;

  private constructor(setup: Omit<ThreadSetup, 'port2' | 'counter'>) {
    const { port1, port2 } = new MessageChannel();
    const counter = new SharedArrayBuffer(4);
    this.name = setup.carrier;
    this.rank = setup.launch.rank;
    this.size = setup.launch.size;
    this.#port = port1;
    this.#counter = new Int32Array(counter);
    const data: ThreadSetup = { ...setup, port2, counter };
    this.#worker = new Worker(new URL('./main.js', import.meta.url), { workerData: data, transferList: [port2] });
    let settle!: { resolve(): void; reject(error: Error): void };
    this.#ready = new Promise((resolve, reject) => {
      settle = { resolve, reject };
    });
    this.#exited = new Promise((resolve) => this.#worker.once('exit', () => resolve()));
    const broken = (why: string) => {
      if (this.#closing) return;
      const error = new DistributedError('failed', `the thread that speaks with the other ranks ended: ${why}`);
      settle.reject(error);
      this.#end(error);
    };
    this.#worker.on('error', (error) => broken(error.stack ?? String(error)));
    this.#worker.on('exit', (code) => broken(`exit ${code}`));
    this.#port.on('message', (message: FromThread) => this.#take(message, settle));
    this.#settle = settle;
  }

  readonly #settle: { resolve(): void; reject(error: Error): void };

  /** Meets the other ranks. @throws DistributedError where they do not meet, or there is no such MPI. */
  static async open(setup: Omit<ThreadSetup, 'port2' | 'counter'>): Promise<ThreadCollective> {
    const collective = new ThreadCollective(setup);
    try {
      await collective.#ready;
      return collective;
    } catch (error) {
      collective.#closing = true;
      await collective.#worker.terminate();
      collective.#port.close();
      throw error;
    }
  }

  get peers(): readonly Peer[] {
    return this.#peers;
  }

  /** What carries the values, in words. */
  get carriedBy(): string {
    return this.#carriedBy;
  }

  /** What ended the group, once it has ended. */
  get error(): DistributedError | null {
    return this.#error;
  }

  /** Whether this rank is the one to say what ended the group, which was not said yet. */
  get speaks(): boolean {
    return this.rank === speakerOf(this.#lost) && !this.#said;
  }

  /** @param listener is told once, when a rank has failed or is gone. */
  onEnd(listener: (error: DistributedError) => void): void {
    this.#onEnd = listener;
    if (this.#error) listener(this.#error);
  }

  allReduce(values: Summable): Handle {
    return this.#begin(sumOperation(values), values.slice(), (sum) => values.set(sum as Summable));
  }

  allGather(bytes: Uint8Array): Handle<Uint8Array[]> {
    return this.#begin('allGather', bytes.slice(), (all) => all as Uint8Array[]);
  }

  broadcast(bytes: Uint8Array | null, root = 0): Handle<Uint8Array> {
    return this.#begin(`broadcast ${root}`, bytes?.slice() ?? null, (of) => of as Uint8Array);
  }

  barrier(): Handle {
    return this.#begin('barrier', null, () => undefined);
  }

  abort(error: Error): void {
    if (this.#error) return;
    this.#send({ kind: 'fail', message: error.message });
    this.#end(
      error instanceof DistributedError ? error : new DistributedError('failed', error.message, { cause: error }),
    );
  }

  async close(): Promise<void> {
    if (this.#closing) return;
    const failed = this.#error !== null;
    this.#send({ kind: failed ? 'heard' : 'close' });
    const patience = new Promise<void>((resolve) => {
      // What was to be told has its time; a goodbye takes as long as the others do.
      if (failed) setTimeout(resolve, 1000);
    });
    await Promise.race([this.#told, this.#exited, patience]);
    this.#closing = true;
    await this.#worker.terminate();
    this.#port.close();
  }

  #closing = false;
  #toldNow: () => void = () => {};
  readonly #told = new Promise<void>((resolve) => {
    this.#toldNow = resolve;
  });

  #send(message: ToThread, transfer: ArrayBuffer[] = []): void {
    this.#port.postMessage(message, transfer);
  }

  #begin<T>(operation: Operation, part: Part, take: (result: Result) => T): Handle<T> {
    const id = this.#calls++;
    let over: { readonly value: T } | { readonly error: Error } | null = null;
    const done = new Promise<T>((resolve, reject) => {
      const waiting: Waiting = {
        resolve(result) {
          const value = take(result);
          over = { value };
          resolve(value);
        },
        reject(error) {
          over = { error };
          reject(error);
        },
      };
      if (this.#error) {
        waiting.reject(this.#error);
        return;
      }
      this.#waiting.set(id, waiting);
      this.#send({ kind: 'call', id, operation, part }, part ? [part.buffer as ArrayBuffer] : []);
    });
    // Whoever waits hears of it; where nobody does, the group's end is heard of elsewhere.
    done.catch(() => {});
    const wait = (): T => {
      for (;;) {
        const found = over as { readonly value: T } | { readonly error: Error } | null;
        if (found && 'error' in found) throw found.error;
        if (found) return found.value;
        const seen = Atomics.load(this.#counter, 0);
        const received = receiveMessageOnPort(this.#port) as { readonly message: FromThread } | undefined;
        if (received) this.#take(received.message, this.#settle);
        else Atomics.wait(this.#counter, 0, seen, 1000);
      }
    };
    return { done, wait };
  }

  #take(message: FromThread, settle: { resolve(): void; reject(error: Error): void }): void {
    switch (message.kind) {
      case 'ready':
        this.#peers = message.peers;
        this.#carriedBy = message.carriedBy;
        settle.resolve();
        return;
      case 'refused':
        settle.reject(errorOf(message.error));
        return;
      case 'result':
      case 'error': {
        const waiting = this.#waiting.get(message.id);
        this.#waiting.delete(message.id);
        if (message.kind === 'result') waiting?.resolve(message.result);
        else waiting?.reject(errorOf(message.error));
        return;
      }
      case 'end':
        this.#lost ??= message.error.lost;
        this.#said ||= message.said;
        this.#end(errorOf(message.error));
        this.#send({ kind: 'heard' });
        return;
      default:
        this.#toldNow();
    }
  }

  #end(error: DistributedError): void {
    if (this.#error) return;
    this.#error = error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
    this.#onEnd(error);
  }
}

const errorOf = ({ reason, message }: PlainError): DistributedError => new DistributedError(reason, message);
