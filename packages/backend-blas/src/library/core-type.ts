/**
 * @file OpenBLAS on a processor that it does not know. It has kernels for many and chooses when it is loaded; a processor that came after it gets those of a
 * Prescott, of 2004, which multiply at a tenth of the speed. Where this one has AVX2 and the choice has not, the library is loaded once more
 * with `OPENBLAS_CORETYPE` set, unless the user has set it.
 */
import { readFileSync } from 'node:fs';
import type Koffi from 'koffi';

type Library = ReturnType<typeof Koffi.load>;

/** OpenBLAS's names of x86 kernels without AVX2, as `openblas_get_corename` gives them. */
const WITHOUT_AVX2: ReadonlySet<string> = new Set(
  [
    ...['Katmai', 'Coppermine', 'Northwood', 'Prescott', 'Banias', 'Atom', 'Core2', 'Penryn', 'Dunnington'],
    ...['Nehalem', 'Sandybridge', 'Athlon', 'Opteron', 'Opteron_SSE3', 'Barcelona', 'Bobcat', 'Nano'],
    ...['Bulldozer', 'Piledriver', 'Steamroller', 'Generic'],
  ].map((name) => name.toLowerCase()),
);

const AVX512 = ['avx512f', 'avx512cd', 'avx512bw', 'avx512dq', 'avx512vl'];
const VARIABLE = 'OPENBLAS_CORETYPE';

/** What this processor can do, by the names of Linux; empty where that is not told. */
function processorFlags(): ReadonlySet<string> {
  if (process.platform !== 'linux' || process.arch !== 'x64') return new Set();
  try {
    return new Set(/^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.trim().split(/\s+/));
  } catch {
    return new Set();
  }
}

/** Kernels that are better than `core` on a processor with these flags, best first; none where `core` is good enough. */
export function betterCores(core: string, flags: ReadonlySet<string>): string[] {
  if (!WITHOUT_AVX2.has(core.toLowerCase()) || !flags.has('avx2') || !flags.has('fma')) return [];
  return AVX512.every((flag) => flags.has(flag)) ? ['SkylakeX', 'Haswell'] : ['Haswell'];
}

/**
 * The library as it is, or loaded again with better kernels; what was done is said in `note`.
 * @param load opens it.
 */
export function withBestCore(
  koffi: typeof Koffi,
  load: () => Library,
  flags: ReadonlySet<string> = processorFlags(),
): { readonly library: Library; readonly note: string | null } {
  const first = load();
  const core = coreOf(first);
  const better = core === null ? [] : betterCores(core, flags);
  if (core === null || better.length === 0) return { library: first, note: null };
  const has = better[0] === 'SkylakeX' ? 'AVX-512' : 'AVX2';
  // Of the process itself: Node's process.env is a copy in a worker.
  const system = koffi.load(null);
  const getenv = system.func(`const char *getenv(const char *name)`) as unknown as (name: string) => string | null;
  const setenv = system.func('int setenv(const char *name, const char *value, int overwrite)');
  const unsetenv = system.func('int unsetenv(const char *name)');
  const chosen = getenv(VARIABLE);
  if (chosen) {
    return { library: first, note: `${VARIABLE}=${chosen} keeps it from ${has}, which this processor has` };
  }
  let library = first;
  try {
    for (const name of better) {
      setenv(VARIABLE, name, 1);
      library.unload();
      library = load();
      if (betterCores(coreOf(library) ?? core, flags).length === 0) {
        return { library, note: `its own choice was ${core}, without the ${has} that this processor has` };
      }
    }
  } finally {
    // Programs that this one starts choose for themselves.
    unsetenv(VARIABLE);
  }
  return {
    library,
    note: `it does not use the ${has} that this processor has, and is slow: a newer OpenBLAS may know it, or set ${VARIABLE}=${better[0]} before the program starts`,
  };
}

function coreOf(library: Library): string | null {
  for (const name of ['openblas_get_corename', 'openblas_get_corename64_', 'openblas_get_corename_64']) {
    try {
      return (library.func(`const char *${name}()`) as unknown as () => string)();
    } catch {
      // not of OpenBLAS, or with another suffix
    }
  }
  return null;
}
