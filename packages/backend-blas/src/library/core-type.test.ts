/** @file OpenBLAS's choice of kernels. Libraries that choose as it does are compiled, so that no processor is needed that it does not know. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { orRequired } from '../../../../test/support/required.js';
import { loadBlas } from './blas.js';
import { betterCores } from './core-type.js';

const AVX2 = new Set(['avx', 'avx2', 'fma']);
const AVX512 = new Set([...AVX2, 'avx512f', 'avx512cd', 'avx512bw', 'avx512dq', 'avx512vl']);

describe('betterCores()', () => {
  it.each([
    ['Prescott', AVX512, ['SkylakeX', 'Haswell']],
    ['Prescott', AVX2, ['Haswell']],
    ['prescott', AVX2, ['Haswell']],
    ['Sandybridge', AVX512, ['SkylakeX', 'Haswell']],
    ['Prescott', new Set(['avx', 'fma']), []],
    ['Prescott', new Set(['avx2']), []],
    ['Prescott', new Set<string>(), []],
    // What it knows it chooses well, be it by less than the processor has.
    ['Haswell', AVX512, []],
    ['Zen', AVX512, []],
    ['SkylakeX', AVX512, []],
    ['Cooperlake', AVX512, []],
    // Of other processors, or to come.
    ['neoversen1', AVX512, []],
    ['Novalake', AVX512, []],
  ] as const)('of %s', (core, flags, expected) => {
    expect(betterCores(core, flags)).toEqual(expected);
  });
});

/** Chooses when it is loaded: what OPENBLAS_CORETYPE names, if it knows it, else Prescott. */
const SOURCE = `
#include <stdlib.h>
#include <string.h>
static const char *core = "Prescott";
__attribute__((constructor)) static void choose(void) {
  const char *wanted = getenv("OPENBLAS_CORETYPE");
  const char *known[] = {KNOWN};
  for (unsigned i = 0; wanted && i < sizeof known / sizeof *known; i++) if (strcmp(wanted, known[i]) == 0) core = known[i];
}
const char *openblas_get_corename(void) { return core; }
const char *openblas_get_config(void) {
  static char text[99];
  strcpy(text, "OpenBLAS 0.3.99 DYNAMIC_ARCH ");
  return strcat(text, core);
}
float cblas_sdot(int n, const float *x, int dx, const float *y, int dy) {
  float sum = 0;
  for (int i = 0; i < n; i++) sum += x[i * dx] * y[i * dy];
  return sum;
}
void cblas_sgemm(int layout, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda, const float *b, int ldb, float beta,
                 float *c, int ldc) {
  for (int i = 0; i < m; i++) for (int j = 0; j < n; j++) {
    float sum = 0;
    for (int l = 0; l < k; l++) sum += (ta == 112 ? a[l * lda + i] : a[i * lda + l]) * (tb == 112 ? b[j * ldb + l] : b[l * ldb + j]);
    c[i * ldc + j] = alpha * sum + beta * c[i * ldc + j];
  }
}
`;

const noCompiler = orRequired('compiler', spawnSync('cc', ['--version']).status === 0 ? null : 'there is no cc');

describe.skipIf(noCompiler !== null || process.platform !== 'linux')(
  'loadBlas() on a processor that OpenBLAS does not know',
  () => {
    let folder: string;
    let count = 0;
    /** One of its own each time, as the loader keeps a library by its path. */
    const library = (...known: string[]) => {
      const [source, out] = [join(folder, 'openblas.c'), join(folder, `libopenblas-${count++}.so`)];
      writeFileSync(source, SOURCE);
      const names = ['Prescott', ...known].map((name) => `"${name}"`).join(',');
      execFileSync('cc', ['-shared', '-fPIC', '-O1', `-DKNOWN=${names}`, source, '-o', out]);
      return out;
    };
    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), 'spft-openblas-'));
    });
    afterAll(() => rmSync(folder, { recursive: true, force: true }));
    // process.env of this thread is the process's, which the library reads.
    beforeEach(() => vi.stubEnv('OPENBLAS_CORETYPE', undefined));
    afterEach(() => vi.unstubAllEnvs());

    it.each([
      ['AVX-512', AVX512, 'SkylakeX'],
      ['AVX2', AVX2, 'Haswell'],
    ] as const)('takes kernels for %s, and says so', (has, flags, core) => {
      const blas = loadBlas(library('SkylakeX', 'Haswell'), flags);
      expect(blas.version).toBe(`OpenBLAS 0.3.99, ${core}`);
      expect(blas.note).toBe(`its own choice was Prescott, without the ${has} that this processor has`);
      // For other programs nothing has changed.
      expect(process.env.OPENBLAS_CORETYPE).toBeUndefined();
      expect(execFileSync('sh', ['-c', 'echo "[$OPENBLAS_CORETYPE]"'], { encoding: 'utf8' }).trim()).toBe('[]');
    });

    it('takes the best that the library has', () => {
      expect(loadBlas(library('Haswell'), AVX512).version).toBe('OpenBLAS 0.3.99, Haswell');
    });

    it('says what can be done where it has none', () => {
      const blas = loadBlas(library(), AVX512);
      expect(blas.version).toBe('OpenBLAS 0.3.99, Prescott');
      expect(blas.note).toBe(
        'it does not use the AVX-512 that this processor has, and is slow: a newer OpenBLAS may know it, or set OPENBLAS_CORETYPE=SkylakeX before the program starts',
      );
    });

    it('leaves what the user has set, and says what that costs', () => {
      vi.stubEnv('OPENBLAS_CORETYPE', 'Prescott');
      const blas = loadBlas(library('Haswell'), AVX2);
      expect(blas.version).toBe('OpenBLAS 0.3.99, Prescott');
      expect(blas.note).toBe('OPENBLAS_CORETYPE=Prescott keeps it from AVX2, which this processor has');
      vi.stubEnv('OPENBLAS_CORETYPE', 'Haswell');
      expect(loadBlas(library('Haswell'), AVX2).note).toBeNull();
    });

    it('does nothing where the processor has no AVX2', () => {
      expect(loadBlas(library('Haswell'), new Set())).toMatchObject({
        version: 'OpenBLAS 0.3.99, Prescott',
        note: null,
      });
    });
  },
);
