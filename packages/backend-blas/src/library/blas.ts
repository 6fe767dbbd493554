/**
 * @file One BLAS, loaded and trusted: its symbols, the width of its integers, and a product with a known result.
 *
 * It is run on one thread: the backend's own threads each call it for a part of a product (threads/pool.ts), which was measured to be as
 * fast as OpenBLAS's threads, needs no second set of threads beside those of the SIMD kernels, and is the same for every BLAS.
 */
import { createRequire } from 'node:module';
import type Koffi from 'koffi';
import { BlasError } from '../errors.js';
import { type Vendor, vendorOf } from './candidates.js';
import { withBestCore } from './core-type.js';

/** An address in the process, in bytes. Addresses of user space stay below 2⁵³. */
export type NativeAddress = number;

/** `cblas_sgemm`: its arguments in their order, addresses as numbers. */
export type Sgemm = (...args: number[]) => void;

export const ROW_MAJOR = 101;
export const NO_TRANSPOSE = 111;
export const TRANSPOSE = 112;

/** What another thread needs to call the same function. */
export interface SgemmDeclaration {
  readonly path: string;
  readonly prototype: string;
}

export interface Blas {
  readonly path: string;
  readonly vendor: Vendor;
  /** As the library describes itself, in one line. */
  readonly version: string;
  /** What is to be said of its choice of kernels, or null. */
  readonly note: string | null;
  readonly integerBits: 32 | 64;
  readonly sgemm: Sgemm;
  readonly declaration: SgemmDeclaration;
  /** Threads of the library's own, of which the backend uses one; for benchmarks. */
  setThreads(threads: number): void;
  /** Where a typed array's first element is. True while the array lives, for arrays whose `buffer` was looked at. */
  addressOf(values: ArrayBufferView): NativeAddress;
}

/** Builds with 64-bit integers often say so in their symbols. */
const SUFFIXES = ['', '64_', '_64'] as const;

type Library = ReturnType<typeof Koffi.load>;
type Foreign = (...args: unknown[]) => unknown;

function symbol(library: Library, prototype: string): Foreign | null {
  try {
    return library.func(prototype) as Foreign;
  } catch {
    return null;
  }
}

/** The last line of a loader's message, which names the file and the reason. */
const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error)).trim();

/** Loaded here and not by an import, which would make importing this package fail where koffi has no binary for the system. */
function loadKoffi(): typeof Koffi {
  try {
    return createRequire(import.meta.url)('koffi') as typeof Koffi;
  } catch (error) {
    throw new BlasError(`koffi, through which libraries are called, does not run here: ${reasonOf(error)}`);
  }
}

/**
 * @param flags of the processor, for tests.
 * @throws BlasError with the reason when it cannot be loaded or does not compute.
 */
export function loadBlas(path: string, flags?: ReadonlySet<string>): Blas {
  const koffi = loadKoffi();
  let library: Library;
  let note: string | null;
  try {
    ({ library, note } = withBestCore(koffi, () => koffi.load(path), flags));
  } catch (error) {
    throw new BlasError(`${path} cannot be loaded: ${reasonOf(error)}`);
  }
  const suffix = SUFFIXES.find((end) => symbol(library, `float cblas_sdot${end}(int64, void *, int64, void *, int64)`));
  if (suffix === undefined) {
    throw new BlasError(`${path} has no cblas_sgemm: it is no BLAS, or one without the C interface (CBLAS)`);
  }
  const integerBits = integerWidth(path, library, suffix);
  const int = `int${integerBits}_t`;
  const prototype =
    `void cblas_sgemm${suffix}(int layout, int ta, int tb, ${int} m, ${int} n, ${int} k, float alpha, ` +
    `uintptr_t a, ${int} lda, uintptr_t b, ${int} ldb, float beta, uintptr_t c, ${int} ldc)`;
  const sgemm = symbol(library, prototype) as Sgemm | null;
  if (!sgemm) throw new BlasError(`${path} has no cblas_sgemm${suffix}`);
  const setThreads = threadSetter(library, suffix);
  setThreads(1);
  const addressOf = addresses(koffi);
  checkProduct(path, sgemm, addressOf);
  const vendor = vendorOf(path);
  const version = versionOf(library, suffix) ?? vendor;
  return { path, vendor, version, integerBits, sgemm, note, declaration: { path, prototype }, setThreads, addressOf };
}

/**
 * A dot product of −2³² + 2 elements: of 2 elements to a library that reads 32 bits, of none to one that reads 64, so that neither reads
 * what is not there.
 */
function integerWidth(path: string, library: Library, suffix: string): 32 | 64 {
  const dot = symbol(library, `float cblas_sdot${suffix}(int64_t n, void *x, int64_t dx, void *y, int64_t dy)`)!;
  const found = dot(2 - 2 ** 32, Float32Array.of(2, 3), 1, Float32Array.of(5, 7), 1) as number;
  if (found === 31) return 32;
  if (found === 0) return 64;
  throw new BlasError(
    `${path} is not called as expected: cblas_sdot${suffix} gave ${found} where 31 (32-bit integers) or 0 (64-bit) would be right`,
  );
}

/** c = 2·aᵀ·b + 3·c with rows further apart than they are long, and places around that must not change. */
function checkProduct(path: string, sgemm: Sgemm, addressOf: (values: ArrayBufferView) => number): void {
  const a = Float32Array.of(1, 2, 9, 3, 4, 9, 5, 6, 9); // [3, 2], rows 3 apart
  const b = Float32Array.of(1, 0, 2, 9, 0, 1, 1, 9, 2, 1, 0, 9); // [3, 3], rows 4 apart
  const c = Float32Array.of(1, 1, 1, 9, 1, 1, 1, 9);
  const places = [a, b, c].map((values) => {
    void values.buffer;
    return addressOf(values);
  }) as [number, number, number];
  sgemm(ROW_MAJOR, TRANSPOSE, NO_TRANSPOSE, 2, 3, 3, 2, places[0], 3, places[1], 4, 3, places[2], 4);
  const expected = [25, 19, 13, 9, 31, 23, 19, 9];
  if (expected.every((value, i) => c[i] === value)) return;
  throw new BlasError(
    `${path} is not called as expected: a product with a known result gave [${[...c].join(', ')}], not [${expected.join(', ')}]`,
  );
}

/** Each vendor's way to say on how many threads it runs; one that has none is run as it is. */
function threadSetter(library: Library, suffix: string): (threads: number) => void {
  const setters = [
    `void openblas_set_num_threads${suffix}(int n)`,
    'void openblas_set_num_threads(int n)',
    'void MKL_Set_Num_Threads(int n)',
    'void bli_thread_set_num_threads(int64_t n)',
  ];
  for (const setter of setters) {
    const set = symbol(library, setter);
    if (set) return (threads) => void set(threads);
  }
  return () => {};
}

function versionOf(library: Library, suffix: string): string | null {
  for (const getter of [`openblas_get_config${suffix}`, 'openblas_get_config', 'bli_info_get_version_str']) {
    const get = symbol(library, `const char *${getter}()`);
    const text = get?.();
    if (typeof text === 'string') return getter.startsWith('bli') ? `BLIS ${text}` : openblasVersion(text);
  }
  const getMkl = symbol(library, 'void MKL_Get_Version_String(_Out_ uint8_t *text, int length)');
  if (getMkl) {
    const text = new Uint8Array(200);
    getMkl(text, text.length);
    return Buffer.from(text).toString('latin1').replace(/\0.*$/s, '').trim();
  }
  return null;
}

/** `OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH NO_AFFINITY Zen MAX_THREADS=64` → `OpenBLAS 0.3.21, Zen`. */
function openblasVersion(config: string): string {
  const [name, version, ...rest] = config.trim().split(/\s+/);
  const kernel = rest.find((word) => !/^(NO_|USE|DYNAMIC|MAX_|SINGLE)/.test(word));
  return `${name} ${version}${kernel ? `, ${kernel}` : ''}`;
}

/** What `memcpy` of nothing returns is where it would have copied to. */
function addresses(koffi: typeof Koffi): (values: ArrayBufferView) => NativeAddress {
  const library = koffi.load(process.platform === 'win32' ? 'msvcrt.dll' : null);
  const memcpy = library.func('uintptr_t memcpy(void *to, void *from, size_t bytes)') as unknown as (
    to: ArrayBufferView,
    from: ArrayBufferView,
    bytes: number,
  ) => number | bigint;
  return (values) => Number(memcpy(values, values, 0));
}
