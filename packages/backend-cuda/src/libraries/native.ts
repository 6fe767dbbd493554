/**
 * @file Loads shared libraries and their functions through koffi, when they are first wanted: importing this package loads nothing.
 *
 * Addresses, of the host and of the device, are plain numbers here: both stay below 2⁴⁸, and numbers are what koffi passes fastest (0.13 µs).
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename } from 'node:path';

type NativeArgument = number | bigint | string | NodeJS.TypedArray | null;

/** A C function; pointers and 64-bit integers go in as numbers or, where they point to host memory, as typed arrays. */
export type NativeFunction = (...args: NativeArgument[]) => number;

/** The same called in another thread, which this one does not wait for. */
export function callAside(f: NativeFunction, args: readonly NativeArgument[], done: () => void): void {
  const { async: aside } = f as unknown as { async(...args: unknown[]): void };
  aside.call(f, ...args, done);
}

interface Koffi {
  load(path: string): { func(signature: string): NativeFunction };
  struct(name: string, fields: Readonly<Record<string, unknown>>): unknown;
  array(type: string, count: number): unknown;
  address(memory: NodeJS.TypedArray): bigint;
  view(address: bigint, bytes: number): ArrayBuffer;
}

let koffi: Koffi | undefined;

function loadKoffi(): Koffi {
  koffi ??= createRequire(import.meta.url)('koffi') as Koffi;
  return koffi;
}

/** Binds `signatures` (C declarations by name) of the library at `path`. @throws Error of the dynamic loader. */
export function bind<Name extends string>(
  path: string,
  signatures: Readonly<Record<Name, string>>,
): Record<Name, NativeFunction> {
  const library = loadKoffi().load(path);
  return Object.fromEntries(
    Object.entries<string>(signatures).map(([name, parameters]) => [name, library.func(`int ${name}(${parameters})`)]),
  ) as Record<Name, NativeFunction>;
}

const structs = new Set<string>();

/** Declares a struct of so many bytes, which `bind` then takes by value as `{ bytes }`. */
export function declareBytes(name: string, count: number): void {
  if (structs.has(name)) return;
  const koffi = loadKoffi();
  koffi.struct(name, { bytes: koffi.array('uint8_t', count) });
  structs.add(name);
}

/** Binds one function that need not exist. */
export function bindOptional(path: string, name: string, declaration: string): NativeFunction | null {
  try {
    return loadKoffi().load(path).func(declaration.replace('NAME', name));
  } catch {
    return null;
  }
}

/** The file that a loaded library is, where the loader found it by its plain name; `path` itself where that cannot be told. */
export function loadedFrom(path: string): string {
  if (basename(path) !== path) return path;
  try {
    const maps = readFileSync('/proc/self/maps', 'utf8');
    const found = maps.split('\n').find((line) => basename(line).startsWith(path));
    return found?.slice(found.indexOf('/')) ?? path;
  } catch {
    return path;
  }
}

/**
 * Ends the process without the endings of native libraries, which may wait for a GPU that will never be done. What was written to stdout and stderr is out.
 * Returns where that cannot be had.
 */
export function endProcess(code: number): void {
  bindOptional('libc.so.6', '_exit', 'void NAME(int code)')?.(code);
}

/** Memory outside of V8's heap, which does not move while it lives. */
export class HostMemory {
  readonly memory: Buffer;
  #address = 0;

  constructor(bytes: number) {
    this.memory = Buffer.allocUnsafeSlow(bytes).fill(0);
  }

  get address(): number {
    this.#address ||= Number(loadKoffi().address(this.memory));
    return this.#address;
  }
}

/** The `bytes` of host memory at an address, which must outlive the view. */
export const viewOf = (address: number, bytes: number): Uint8Array =>
  new Uint8Array(loadKoffi().view(BigInt(address), bytes));
