/**
 * @file Messages on a socket: a header of JSON and a body of bytes, each with its length before it. What a stranger may send is short, so that nobody
 * makes this process hold much.
 */
import type { Socket } from 'node:net';
import { DistributedError } from '../errors.js';

export interface Message {
  readonly header: Readonly<Record<string, unknown>>;
  readonly body: Uint8Array<ArrayBuffer>;
}

const LENGTHS = 8;
/** Bytes of a header. */
const MOST_HEADER = 65_536;
/** Bytes of a body before the other side has shown that it belongs here. */
const MOST_FROM_STRANGERS = 0;

export class Wire {
  /** Milliseconds (`performance.now`) at which something last came. */
  heardAt = performance.now();
  /** Whether the other side has shown that it belongs here. */
  trusted = false;
  readonly #socket: Socket;
  #chunks: Buffer[] = [];
  #bytes = 0;
  readonly #messages: Message[] = [];
  #waiting: { resolve(message: Message): void; reject(error: Error): void } | null = null;
  #end: Error | null = null;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', (error) => this.#stop(error));
    socket.on('close', () => this.#stop(new Error('the connection was closed')));
  }

  send(header: Readonly<Record<string, unknown>>, body: ArrayBufferView = new Uint8Array(0)): void {
    if (this.#socket.destroyed) return;
    const text = Buffer.from(JSON.stringify(header));
    const lengths = Buffer.alloc(LENGTHS);
    lengths.writeUInt32LE(text.length, 0);
    lengths.writeUInt32LE(body.byteLength, 4);
    this.#socket.cork();
    this.#socket.write(lengths);
    this.#socket.write(text);
    if (body.byteLength > 0) this.#socket.write(Buffer.from(body.buffer, body.byteOffset, body.byteLength));
    this.#socket.uncork();
  }

  /**
   * The next message.
   * @throws (by rejection) what ended the connection.
   */
  next(): Promise<Message> {
    const message = this.#messages.shift();
    if (message) return Promise.resolve(message);
    if (this.#end) return Promise.reject(this.#end);
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  /** Sends what was given to be sent, then ends. */
  end(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#socket.destroyed) resolve();
      else this.#socket.end(() => resolve());
    });
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    this.heardAt = performance.now();
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    for (;;) {
      if (this.#bytes < LENGTHS) return;
      const start = this.#peek(LENGTHS);
      const [head, body] = [start.readUInt32LE(0), start.readUInt32LE(4)];
      if (head > MOST_HEADER || (!this.trusted && body > MOST_FROM_STRANGERS)) {
        this.#refuse('it sends what no rank of spft sends');
        return;
      }
      if (this.#bytes < LENGTHS + head + body) return;
      const whole = this.#shift(LENGTHS + head + body);
      let header: unknown;
      try {
        header = JSON.parse(whole.toString('utf8', LENGTHS, LENGTHS + head));
      } catch {
        header = null;
      }
      if (typeof header !== 'object' || header === null || Array.isArray(header)) {
        this.#refuse('it sends what no rank of spft sends');
        return;
      }
      // A copy of its own, on an address that any typed array may begin at.
      const message: Message = {
        header: header as Record<string, unknown>,
        body: Uint8Array.from(whole.subarray(LENGTHS + head)),
      };
      const waiting = this.#waiting;
      this.#waiting = null;
      if (waiting) waiting.resolve(message);
      else this.#messages.push(message);
    }
  }

  #peek(bytes: number): Buffer {
    if (this.#chunks[0]!.length < bytes) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0]!;
  }

  #shift(bytes: number): Buffer {
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)];
    const [all] = this.#chunks as [Buffer];
    this.#chunks = bytes < all.length ? [all.subarray(bytes)] : [];
    this.#bytes -= bytes;
    return all.subarray(0, bytes);
  }

  #refuse(why: string): void {
    this.#stop(new DistributedError('rendezvous', why));
    this.#socket.destroy();
  }

  #stop(error: Error): void {
    this.#end ??= error;
    const waiting = this.#waiting;
    this.#waiting = null;
    waiting?.reject(this.#end);
  }
}
