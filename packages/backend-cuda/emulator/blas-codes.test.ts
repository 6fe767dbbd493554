/** @file Products of E4M3 codes of the emulated cuBLASLt: what they give, and what is refused as the real one refuses it. */
import { expect, it } from 'vitest';
import { cuda, describeEmulator } from './describe-emulator.js';

const [E4M3, BF16, F32] = [28, 14, 0];
const BY_ROW = 3;

/** Codes of 1, 1.125, …, 1.875 and their doubles, and what they are. */
const code = (n: number) => 0x38 + (n % 16);
const number = (n: number) => (1 + (n % 8) / 8) * (n % 16 < 8 ? 1 : 2);

interface Product {
  m: number;
  n: number;
  k: number;
  transposeA?: boolean;
  transposeB?: boolean;
  b?: number;
  d?: number;
  mode?: number;
  /** Bytes by which the scales of B lie off. */
  scalesOff?: number;
  capability?: string;
}

describeEmulator('products of e4m3 on the emulated cuBLASLt', () => {
  const int = (x: number) => new Int32Array([x]);
  const pointer = (x: bigint) => new BigUint64Array([x]);

  /** Statuses of the heuristic and of the product, d = Aᵀ·B as cuBLASLt counts, and what it should be. */
  function multiply({
    m,
    n,
    k,
    transposeA = true,
    transposeB = false,
    b = E4M3,
    d = F32,
    mode,
    scalesOff = 0,
    capability = '9.0',
  }: Product) {
    process.env.SPFT_EMULATOR_CAPABILITY = capability;
    const handle = cuda.made('cublasLtCreate');
    const product = cuda.made('cublasLtMatmulDescCreate', 68, F32);
    const set = (attribute: number, value: NodeJS.TypedArray, bytes: number) =>
      cuda.ok('cublasLtMatmulDescSetAttribute', product, attribute, value, bytes);
    set(3, int(Number(transposeA)), 4);
    set(4, int(Number(transposeB)), 4);
    set(25, new Int8Array([1]), 1);
    const scales = (count: number, step: number) => Float32Array.from({ length: count }, (_, i) => 1 + step * i);
    if (mode !== undefined) {
      set(31, int(mode), 4);
      set(32, int(mode), 4);
      set(17, pointer(cuda.upload(scales(m, 1))), 8);
      set(18, pointer(cuda.upload(scales(n + 4, 2)) + BigInt(scalesOff)), 8);
    }
    const layout = (type: number, rows: number, columns: number) =>
      cuda.made('cublasLtMatrixLayoutCreate', type, rows, columns, rows);
    const layouts = [
      transposeA ? layout(E4M3, k, m) : layout(E4M3, m, k),
      transposeB ? layout(b, n, k) : layout(b, k, n),
      layout(d, m, n),
      layout(d, m, n),
    ] as const;
    const codes = (count: number, of: (i: number) => number) =>
      cuda.upload(Uint8Array.from({ length: 4 * count }, (_, i) => code(of(i))));
    const [pa, pb, pd] = [codes(m * k, (i) => i), codes(k * n, (i) => 3 * i), cuda.allocate(4 * m * n)];
    const preference = cuda.made('cublasLtMatmulPreferenceCreate');
    const results = Buffer.allocUnsafeSlow(96);
    const found = Buffer.allocUnsafeSlow(4);
    const statuses = [
      cuda.call('cublasLtMatmulAlgoGetHeuristic', handle, product, ...layouts, preference, 1, results, found),
    ];
    if (statuses[0] !== 0) return { statuses, got: [], want: [] };
    const [la, lb, lc, ld] = layouts;
    const [alpha, beta] = [new Float32Array([0.5]), new Float32Array([0])];
    statuses.push(
      cuda.call('cublasLtMatmul', handle, product, alpha, pa, la, pb, lb, beta, pd, lc, pd, ld, results, 0, 0, 0),
    );
    if (statuses[1] !== 0) return { statuses, got: [], want: [] };
    const got = [...new Float32Array(cuda.words(pd, m * n).buffer)];
    const want = got.map((_, at) => {
      const [i, j] = [at % m, Math.floor(at / m)];
      let sum = 0;
      for (let l = 0; l < k; l++) sum += number(i * k + l) * number(3 * (j * k + l));
      return 0.5 * sum * (mode === BY_ROW ? (1 + i) * (1 + 2 * j) : 1);
    });
    return { statuses, got, want };
  }

  const shape = { m: 32, n: 5, k: 48 };

  it('multiplies codes, scaled by row or as a whole', () => {
    for (const mode of [undefined, 0, BY_ROW]) {
      const { statuses, got, want } = multiply({ ...shape, ...(mode !== undefined && { mode }) });
      expect(statuses).toEqual([0, 0]);
      expect(got).toEqual(want);
    }
    expect(multiply({ ...shape, mode: 0, capability: '8.9' }).statuses).toEqual([0, 0]);
  });

  it.each<[string, Partial<Product>, number[]]>([
    ['an A that is not transposed', { transposeA: false }, [15]],
    ['a B that is transposed', { transposeB: true }, [15]],
    ['codes by bf16', { b: BF16 }, [15]],
    ['an inner dimension that is no multiple of 16', { k: 40 }, [15]],
    ['rows that are no multiple of 16', { m: 24 }, [15]],
    ['scales by row that do not begin at a multiple of 16 bytes', { mode: BY_ROW, scalesOff: 4 }, [0, 15]],
    ['scales by row on Ada', { mode: BY_ROW, capability: '8.9' }, [15]],
    ['codes on Ampere', { capability: '8.0' }, [15]],
    ['a result of codes', { d: E4M3 }, [15]],
  ])('refuses %s', (_, change, statuses) => {
    expect(multiply({ ...shape, ...change }).statuses).toEqual(statuses);
  });
});
