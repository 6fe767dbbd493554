import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blasMissing } from '../../../../test/support/backends.js';
import { orRequired } from '../../../../test/support/required.js';
import { loadBlas } from './blas.js';
import { candidates, installHint, vendorOf } from './candidates.js';
import { probeBlas } from './probe.js';

describe('probeBlas()', () => {
  it('says what is wrong with a path that leads nowhere, and never throws', () => {
    expect(probeBlas({ SPFT_BLAS: '/nowhere/libblas.so' })).toEqual({
      available: false,
      reason: expect.stringMatching(/^SPFT_BLAS: \/nowhere\/libblas\.so cannot be loaded: .*No such file/),
      hint: 'set SPFT_BLAS to the path of a BLAS with a C interface, or not at all',
    });
  });

  it.runIf(process.platform === 'linux')('knows a library that is no BLAS', () => {
    expect(probeBlas({ SPFT_BLAS: 'libm.so.6' })).toMatchObject({
      available: false,
      reason: 'SPFT_BLAS: libm.so.6 has no cblas_sgemm: it is no BLAS, or one without the C interface (CBLAS)',
    });
  });

  it.each(['0', '-2', '1.5', 'many'])('refuses SPFT_THREADS=%s', (SPFT_THREADS) => {
    expect(probeBlas({ SPFT_THREADS })).toMatchObject({
      available: false,
      reason: `SPFT_THREADS is '${SPFT_THREADS}'`,
      hint: expect.stringContaining('whole number'),
    });
  });

  it.skipIf(blasMissing())('says which library it is, with how many threads', () => {
    const probe = probeBlas({ SPFT_THREADS: '3', SPFT_BLAS: process.env.SPFT_BLAS });
    expect(probe).toMatchObject({
      available: true,
      threads: 3,
      detail: expect.stringMatching(/^.+ \(.+\), 3 threads(; .*)?$/),
    });
  });
});

describe('candidates()', () => {
  it('looks for what a system has', () => {
    expect(candidates('linux')).toContain('libmkl_rt.so.2');
    expect(candidates('darwin')[0]).toContain('Accelerate');
    expect(candidates('win32')).toContain('libopenblas.dll');
    expect(installHint('darwin')).toContain('brew install openblas');
    expect(['/opt/libmkl_rt.so.2', 'libblis.so.4', 'libopenblas.so.0', 'libsomething.so'].map(vendorOf)).toEqual([
      ...['MKL', 'BLIS', 'OpenBLAS', 'BLAS'],
    ]);
  });
});

/** A BLAS of plain loops. */
const SOURCE = `
#include <stdint.h>
typedef INT n_t;
float cblas_sdot(n_t n, const float *x, n_t dx, const float *y, n_t dy) {
  float sum = 0;
  for (n_t i = 0; i < n; i++) sum += x[i * dx] * y[i * dy];
  return sum + DOT_OFF;
}
void cblas_sgemm(int layout, int ta, int tb, n_t m, n_t n, n_t k, float alpha, const float *a, n_t lda, const float *b, n_t ldb, float beta,
                 float *c, n_t ldc) {
  for (n_t i = 0; i < m; i++) for (n_t j = 0; j < n; j++) {
    float sum = 0;
    for (n_t l = 0; l < k; l++) sum += (ta == TRANSPOSED ? a[l * lda + i] : a[i * lda + l]) * (tb == 112 ? b[j * ldb + l] : b[l * ldb + j]);
    c[i * ldc + j] = alpha * sum + beta * c[i * ldc + j];
  }
}
`;

const noCompiler = orRequired('compiler', spawnSync('cc', ['--version']).status === 0 ? null : 'there is no cc');

// Needs a C compiler to make libraries that are wrong in one way each.
describe.skipIf(noCompiler !== null || process.platform === 'win32')('loadBlas()', () => {
  let folder: string;
  const library = (name: string, { int = 'int', transposed = 112, off = 0 }) => {
    const [source, out] = [join(folder, `${name}.c`), join(folder, `${name}.so`)];
    writeFileSync(source, SOURCE);
    const defines = [`-DINT=${int}`, `-DTRANSPOSED=${transposed}`, `-DDOT_OFF=${off}`];
    execFileSync('cc', ['-shared', '-fPIC', '-O1', ...defines, source, '-o', out]);
    return out;
  };
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'spft-blas-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('tells integers of 32 bits from those of 64, and calls either', () => {
    expect(loadBlas(library('lp64', {})).integerBits).toBe(32);
    expect(loadBlas(library('ilp64', { int: 'int64_t' })).integerBits).toBe(64);
  });

  it('refuses a library whose functions take something else', () => {
    const wrong = library('dot', { off: 1 });
    expect(() => loadBlas(wrong)).toThrow(/is not called as expected: cblas_sdot gave (32|1) where 31/);
  });

  it('refuses a library that does not know a transposed operand', () => {
    expect(() => loadBlas(library('transposed', { transposed: 84 }))).toThrow(
      /is not called as expected: a product with a known result gave \[.*\], not \[25, 19, 13, 9, 31, 23, 19, 9\]/,
    );
  });
});
