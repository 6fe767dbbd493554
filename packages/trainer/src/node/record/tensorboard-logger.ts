/**
 * @file TensorBoard's event files: TFRecords (length, its checksum, data, its checksum) of `tensorflow.Event` messages with scalar summaries.
 * Written by hand, as no maintained library writes them; https://www.tensorflow.org/tutorials/load_data/tfrecord describes the records.
 */
import { appendFile, mkdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { TrainerCallback, TrainerContext } from '../../loop/callbacks.js';
import type { LogEntry } from '../../loop/state.js';
import { metricNames } from '../../record/metric-names.js';
import type { MetricSink } from '../../record/module-statistics.js';

/** Appends every logged value as it comes, so that TensorBoard shows a run while it runs. */
export class TensorBoardLogger implements TrainerCallback, MetricSink {
  readonly #directory: string;
  #path: string | null = null;

  /** @param directory of the run; several runs beside each other are compared by giving TensorBoard the directory above. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  async onTrainBegin(): Promise<void> {
    await mkdir(this.#directory, { recursive: true });
    const seconds = Math.floor(Date.now() / 1000);
    this.#path = join(this.#directory, `events.out.tfevents.${seconds}.${hostname()}.${process.pid}.0`);
    await appendFile(this.#path, record(event(Date.now() / 1000, 0, text(3, 'brain.Event:2'))));
  }

  async onLog({ logs }: TrainerContext & { readonly logs: LogEntry }): Promise<void> {
    await this.values(logs.step ?? 0, metricNames(logs));
  }

  async values(step: number, values: Readonly<Record<string, number>>): Promise<void> {
    if (this.#path === null) return;
    const summary = Object.entries(values).map(([tag, value]) => message(1, bytesOf(text(1, tag), float(2, value))));
    if (summary.length === 0) return;
    await appendFile(this.#path, record(event(Date.now() / 1000, step, message(5, bytesOf(...summary)))));
  }
}

// Protocol buffers: a field is its number and kind, then its value.

function bytesOf(...parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts);
}

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  do {
    const low = rest % 128;
    rest = Math.floor(rest / 128);
    bytes.push(rest > 0 ? low + 128 : low);
  } while (rest > 0);
  return Uint8Array.from(bytes);
}

const key = (field: number, wire: 0 | 1 | 2 | 5): Uint8Array => varint(field * 8 + wire);

const message = (field: number, body: Uint8Array): Uint8Array => bytesOf(key(field, 2), varint(body.length), body);

const text = (field: number, value: string): Uint8Array => message(field, new TextEncoder().encode(value));

function float(field: number, value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytesOf(key(field, 5), bytes);
}

/** `wall_time` (1, double), `step` (2), and what it is of. */
function event(wallTime: number, step: number, what: Uint8Array): Uint8Array {
  const time = Buffer.alloc(8);
  time.writeDoubleLE(wallTime);
  return bytesOf(key(1, 1), time, key(2, 0), varint(step), what);
}

/** One TFRecord. */
function record(data: Uint8Array): Uint8Array {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(data.length));
  return bytesOf(length, checksum(length), data, checksum(data));
}

/** CRC-32C (Castagnoli), reflected polynomial. */
const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let value = n;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value >>> 0;
});

/** The masked checksum: rotated and offset, so that a checksum of data that holds checksums is no trouble. */
function checksum(data: Uint8Array): Uint8Array {
  let crc = 0xffffffff;
  for (const byte of data) crc = TABLE[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
  crc = (crc ^ 0xffffffff) >>> 0;
  const masked = ((((crc >>> 15) | (crc << 17)) >>> 0) + 0xa282ead8) >>> 0;
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(masked);
  return bytes;
}
