/** @file Products of the emulated cuBLASLt. */
import { expect, it } from 'vitest';
import { bf16Bits, cuda, describeEmulator, numbers, small } from './describe-emulator.js';

describeEmulator('cuBLASLt on the emulator', () => {
  const F32 = 0;
  const BF16 = 14;
  const number32 = (x: number) => new Int32Array([x]);
  const values = (type: number, count: number, of: (i: number) => number) =>
    type === F32 ? numbers(count, of) : Uint16Array.from({ length: count }, (_, i) => bf16Bits(of(i)));

  interface Product {
    m: number;
    n: number;
    k: number;
    a?: number;
    b?: number;
    d?: number;
    transposeA?: boolean;
    transposeB?: boolean;
    batches?: number;
    beta?: number;
    bias?: boolean;
    rowOrder?: boolean;
    leading?: number;
  }

  /** The status of the heuristic and of the product, and what it gave, beside what it should have. */
  function multiply(p: Product): { statuses: number[]; got: number[]; want: number[] } {
    const {
      m,
      n,
      k,
      a = F32,
      b = a,
      d = F32,
      transposeA = false,
      transposeB = false,
      batches = 1,
      beta = 0,
      rowOrder = false,
    } = p;
    const handle = cuda.made('cublasLtCreate');
    const product = cuda.made('cublasLtMatmulDescCreate', 68, F32);
    cuda.ok('cublasLtMatmulDescSetAttribute', product, 3, number32(Number(transposeA)), 4);
    cuda.ok('cublasLtMatmulDescSetAttribute', product, 4, number32(Number(transposeB)), 4);
    // One more than needed between columns (rows, if by rows), and three between matrices.
    const layout = (type: number, rows: number, columns: number) => {
      const leading = (rowOrder ? columns : rows) + (p.leading ?? 1);
      const size = leading * (rowOrder ? rows : columns) + 3;
      const made = cuda.made('cublasLtMatrixLayoutCreate', type, rows, columns, leading);
      if (rowOrder) cuda.ok('cublasLtMatrixLayoutSetAttribute', made, 1, number32(1), 4);
      cuda.ok('cublasLtMatrixLayoutSetAttribute', made, 5, number32(batches), 4);
      cuda.ok('cublasLtMatrixLayoutSetAttribute', made, 6, new BigInt64Array([BigInt(size)]), 8);
      const at = (i: number, j: number, batch: number) => batch * size + (rowOrder ? i * leading + j : j * leading + i);
      return { made, at, total: size * batches };
    };
    const la = transposeA ? layout(a, k, m) : layout(a, m, k);
    const lb = transposeB ? layout(b, n, k) : layout(b, k, n);
    const ld = layout(d, m, n);
    const ofB = (i: number) => small(3 * i + 1);
    const addresses = [
      cuda.upload(values(a, la.total, small)),
      cuda.upload(values(b, lb.total, ofB)),
      beta ? cuda.upload(values(d, ld.total, small)) : cuda.allocate(ld.total * 4),
      cuda.allocate(ld.total * 4),
    ] as const;
    if (p.bias) {
      cuda.ok('cublasLtMatmulDescSetAttribute', product, 7, number32(4), 4);
      const bias = cuda.upload(values(d, m, (i) => 8 * small(i)));
      cuda.ok('cublasLtMatmulDescSetAttribute', product, 8, new BigUint64Array([bias]), 8);
    }
    const preference = cuda.made('cublasLtMatmulPreferenceCreate');
    cuda.ok('cublasLtMatmulPreferenceSetAttribute', preference, 1, new BigUint64Array([1n << 20n]), 8);
    const workspace = cuda.allocate(1 << 20);
    const results = Buffer.allocUnsafeSlow(96 * 4);
    const found = Buffer.allocUnsafeSlow(4);
    const layouts = [la.made, lb.made, ld.made, ld.made] as const;
    const statuses = [
      cuda.call('cublasLtMatmulAlgoGetHeuristic', handle, product, ...layouts, preference, 4, results, found),
    ];
    if (statuses[0] !== 0) return { statuses, got: [], want: [] };
    expect(found.readInt32LE(0)).toBe(2);
    const [pa, pb, pc, pd] = addresses;
    statuses.push(
      cuda.call(
        'cublasLtMatmul',
        handle,
        product,
        new Float32Array([2]),
        pa,
        la.made,
        pb,
        lb.made,
        new Float32Array([beta]),
        pc,
        ld.made,
        pd,
        ld.made,
        results.subarray(96),
        workspace,
        1 << 20,
        0,
      ),
    );
    const words = cuda.words(pd, d === F32 ? ld.total : Math.ceil(ld.total / 2));
    const floats =
      d === F32
        ? new Float32Array(words.buffer)
        : new Float32Array(Uint32Array.from(new Uint16Array(words.buffer), (x) => x << 16).buffer);
    const got: number[] = [];
    const want: number[] = [];
    for (let batch = 0; batch < batches; batch++)
      for (let i = 0; i < m; i++)
        for (let j = 0; j < n; j++) {
          let sum = 0;
          for (let l = 0; l < k; l++)
            sum +=
              small(transposeA ? la.at(l, i, batch) : la.at(i, l, batch)) *
              ofB(transposeB ? lb.at(j, l, batch) : lb.at(l, j, batch));
          const x = 2 * sum + (beta ? beta * small(ld.at(i, j, batch)) : 0) + (p.bias ? 8 * small(i) : 0);
          want.push(d === F32 ? x : Math.fround(x));
          got.push(floats[ld.at(i, j, batch)]!);
        }
    return { statuses, got, want };
  }

  const transpositions = [false, true].flatMap((transposeA) =>
    [false, true].map((transposeB) => ({ transposeA, transposeB })),
  );
  it.each(transpositions)('multiplies with $transposeA and $transposeB for transpositions', (transposed) => {
    for (const shape of [
      { m: 37, n: 13, k: 300 },
      { m: 1, n: 1, k: 1 },
      { m: 130, n: 6, k: 17 },
    ]) {
      for (const more of [
        {},
        { a: BF16, d: F32 },
        { batches: 3, beta: 1 },
        { bias: true },
        { rowOrder: true, beta: 3 },
      ]) {
        const { statuses, got, want } = multiply({ ...shape, ...transposed, ...more });
        expect(statuses).toEqual([0, 0]);
        expect(got).toEqual(want);
      }
    }
  });

  it('rounds to bf16', () => {
    // Sums below 256 are exact in bf16.
    const { statuses, got, want } = multiply({ m: 20, n: 9, k: 5, a: BF16, d: BF16, beta: 1 });
    expect(statuses).toEqual([0, 0]);
    expect(got).toEqual(want);
  });

  it('refuses what the real one refuses', () => {
    const shape = { m: 8, n: 8, k: 8 };
    expect(multiply({ ...shape, leading: -1 }).statuses).toEqual([7]);
    expect(multiply({ ...shape, a: BF16, b: F32 }).statuses).toEqual([15]);
    expect(multiply({ ...shape, a: F32, d: BF16 }).statuses).toEqual([15]);
    process.env.SPFT_EMULATOR_BLAS_ANY = '1';
    expect(multiply({ ...shape, a: BF16, b: F32 }).statuses).toEqual([0, 0]);
  });
});
