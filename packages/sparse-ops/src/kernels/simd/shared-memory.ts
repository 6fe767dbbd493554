/**
 * @file A WebAssembly module with its memory shared among threads: the same module, but for one bit that says so where its memory is declared.
 *
 * Whether a memory is shared is part of a module's type, so one that is made for a memory of its own cannot be given a shared one. The code is the same
 * for both: loads and stores that are not atomic are allowed on either. So our kernels are compiled once, and tfjs's module, which has a memory of its own,
 * can be had on one that other threads see (threads/wasm.ts).
 */

/** Of a memory's limits, in the binary format: there is a maximum, without which no memory may be shared; it is shared. */
const HAS_MAXIMUM = 1;
const SHARED = 2;

const IMPORTS = 2;
const MEMORIES = 5;
/** What an import is: a function, a table, a memory, a global. */
const KIND = { function: 0, table: 1, memory: 2, global: 3 } as const;

class Reader {
  constructor(
    readonly bytes: Uint8Array,
    public at: number,
  ) {}

  byte(): number {
    const value = this.bytes[this.at++];
    if (value === undefined) throw new RangeError('withSharedMemory: the module ends within a section');
    return value;
  }

  /** A number as the format has it, seven bits a byte. */
  number(): number {
    let value = 0;
    for (let power = 1; ; power *= 128) {
      const byte = this.byte();
      value += (byte & 127) * power;
      if (byte < 128) return value;
    }
  }

  skip(bytes: number): void {
    this.at += bytes;
  }
}

function skipLimits(reader: Reader): void {
  const flags = reader.byte();
  reader.number();
  if (flags & HAS_MAXIMUM) reader.number();
}

/** Goes past an import, or up to the limits of a memory. @returns whether it is one. */
function findMemoryOfImport(reader: Reader): boolean {
  reader.skip(reader.number());
  reader.skip(reader.number());
  const kind = reader.byte();
  if (kind === KIND.memory) return true;
  if (kind === KIND.function) reader.number();
  else if (kind === KIND.table) {
    reader.skip(1);
    skipLimits(reader);
  } else if (kind === KIND.global) reader.skip(2);
  else throw new RangeError(`withSharedMemory: the module imports something of kind ${kind}`);
  return false;
}

/** Where the limits of the module's one memory are, which it has or imports; −1 where it has none. */
function memoryLimits(bytes: Uint8Array): number {
  const reader = new Reader(bytes, 8);
  while (reader.at < bytes.length) {
    const section = reader.byte();
    const length = reader.number();
    const end = reader.at + length;
    if (section === IMPORTS) {
      for (let left = reader.number(); left > 0; left--) if (findMemoryOfImport(reader)) return reader.at;
    } else if (section === MEMORIES && reader.number() > 0) return reader.at;
    reader.at = end;
  }
  return -1;
}

/**
 * @param bytes of a module whose memory has a maximum.
 * @returns a copy whose memory is shared among threads; one whose memory is already is the same.
 * @throws RangeError where it has no memory, or one without a maximum.
 */
export function withSharedMemory(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const limits = memoryLimits(bytes);
  if (limits >= bytes.length) throw new RangeError('withSharedMemory: the module ends within a section');
  if (limits < 0) throw new RangeError('withSharedMemory: the module has no memory and imports none');
  if (!(bytes[limits]! & HAS_MAXIMUM)) {
    throw new RangeError('withSharedMemory: the memory of the module has no maximum, which a shared one must have');
  }
  const copy = Uint8Array.from(bytes);
  copy[limits]! |= SHARED;
  return copy;
}
