/** @file Codes of 4 bits against bitsandbytes itself (fixtures/make_four_bit.py), and each way to unpack them against plain loops. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { expectGradients } from '../../../../test/support/gradients.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { random2d, someOf, valuesOf } from '../../test/selections.js';
import type { FourBitType, Packed4bitAttributes, StoredType } from '../contract/layers.js';
import { CODE_BOOKS, DYNAMIC_MAP } from './code-books.js';
import { disposePacked, linear4bit, packedMatrix, unpack4bit, unpack4bitColumns, unpack4bitRows } from './four-bit.js';
import { quantise4bitReference, quantiseScalesReference, unpack4bitReference } from './four-bit.reference.js';
import { packedTensor, partsOf } from './packed-tensor.js';
import { quantise4bit, quantise4bitOnHost, quantiseScales } from './quantise-4bit.js';
import { roundingTo } from './rounding.js';
import { anotherOf, storedMatrixOf } from './stored-matrix.js';

interface FixtureCase {
  readonly dtype: StoredType;
  readonly type: FourBitType;
  readonly blockSize: number;
  readonly codes: string;
  readonly absmax: string;
  readonly sha256: string;
  readonly nestedAbsmax?: string;
  readonly offset?: number;
}

interface Fixture {
  readonly books: Readonly<Record<FourBitType, string>>;
  readonly dynamicMap: string;
  readonly inputs: readonly {
    readonly shape: [number, number];
    readonly bf16?: string;
    readonly f32?: string;
    readonly cases: readonly FixtureCase[];
  }[];
}

const fixture = JSON.parse(
  readFileSync(new URL('../../test/fixtures/four-bit.json', import.meta.url), 'utf8'),
) as Fixture;

const bytesOf = (text: string) => Uint8Array.from(Buffer.from(text, 'base64'));
const floatsOf = (text: string) => new Float32Array(bytesOf(text).buffer);
const same = { relative: 0, absolute: 0 };

function inputOf({ bf16, f32 }: Fixture['inputs'][number]): Float32Array {
  if (f32 !== undefined) return floatsOf(f32);
  return new Float32Array(Uint32Array.from(new Uint16Array(bytesOf(bf16!).buffer), (word) => word << 16).buffer);
}

const FIXTURE_CASES = fixture.inputs.flatMap((input) =>
  input.cases.map((one) => {
    const about = `${one.type}, [${input.shape}] of ${one.dtype} by ${one.blockSize}${one.nestedAbsmax ? ', double quantised' : ''}`;
    const round = roundingTo(one.dtype);
    return { about, shape: input.shape, values: inputOf(input).map(round), ...one };
  }),
);

type Made = (typeof FIXTURE_CASES)[number];

/** As bitsandbytes has packed it. */
function packedOfFixture({ shape: [out, inputs], type, dtype, blockSize, codes, absmax, nestedAbsmax, offset }: Made) {
  const attributes: Packed4bitAttributes = {
    ...{ out, in: inputs, blockSize, dtype, nestedBlockSize: nestedAbsmax ? 256 : 0, offset: offset ?? 0 },
  };
  const arrays = nestedAbsmax
    ? { absmax: bytesOf(absmax), nestedAbsmax: floatsOf(nestedAbsmax) }
    : { absmax: floatsOf(absmax) };
  return packedMatrix({ type, attributes, codes: bytesOf(codes), ...arrays });
}

describe('code books', () => {
  it("are bitsandbytes'", () => {
    for (const type of ['nf4', 'fp4'] as const)
      expect([...CODE_BOOKS[type]]).toEqual([...floatsOf(fixture.books[type])]);
    expect([...DYNAMIC_MAP]).toEqual([...floatsOf(fixture.dynamicMap)]);
  });
});

describe('roundingTo()', () => {
  it.each([
    ['BF16', 8],
    ['F16', 11],
  ] as const)('%s rounds to %i bits, halves to even, at both ends of the range', (dtype, bits) => {
    const round = roundingTo(dtype);
    const step = 2 ** (1 - bits);
    expect([1, 1 + step, 1 + step / 2, 1 + 1.5 * step, -1 - step / 2].map(round)).toEqual([
      1,
      1 + step,
      1,
      1 + 2 * step,
      -1,
    ]);
    expect(round(1 + step * 0.5001)).toBe(1 + step);
    expect([0, -0].map((x) => Object.is(round(x), x))).toEqual([true, true]);
    expect(round(Number.NaN)).toBeNaN();
  });

  it('F16 has multiples of 2^-24 below 2^-14, and no number from 65520 on', () => {
    const round = roundingTo('F16');
    expect([1.4, 1.5, 2.5, 0.5].map((x) => round(x * 2 ** -24) * 2 ** 24)).toEqual([1, 2, 2, 0]);
    expect([65504, 65519, 65520, -1e9].map(round)).toEqual([65504, 65504, Infinity, -Infinity]);
  });
});

describe('quantise4bitOnHost() and quantiseScales()', () => {
  it.each(FIXTURE_CASES)("give bitsandbytes' codes and scales: $about", (made) => {
    const { values, type, blockSize, codes, absmax, nestedAbsmax, offset } = made;
    for (const quantise of [quantise4bitOnHost, quantise4bitReference]) {
      const mine = quantise(values, type, blockSize);
      expect(Buffer.from(mine.codes).toString('base64')).toBe(codes);
      if (!nestedAbsmax) expect([...mine.absmax]).toEqual([...floatsOf(absmax)]);
      else {
        for (const quantiseAgain of [
          quantiseScalesReference(mine.absmax, offset),
          quantiseScales(mine.absmax, { offset: offset! }),
        ]) {
          expect([...quantiseAgain.codes]).toEqual([...bytesOf(absmax)]);
          expect([...quantiseAgain.absmax]).toEqual([...floatsOf(nestedAbsmax)]);
        }
        // Its sum is in float32, in an order of the machine's.
        expect(Math.abs(quantiseScales(mine.absmax).offset / offset! - 1)).toBeLessThan(2 ** -21);
      }
    }
  });

  it('refuse rows that are no multiple of a block', () => {
    expect(() => quantise4bitOnHost(new Float32Array(65), 'nf4', 64)).toThrow('65 numbers are no multiple of 64');
    const x = tf.zeros([2, 96]) as tf.Tensor2D;
    expect(() => quantise4bit(x, 'nf4', 64)).toThrow('rows of [2,96] are no multiple of 64');
    x.dispose();
  });
});

describe.each(PATHS)('unpack4bit() and its like on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each(FIXTURE_CASES)("give bitsandbytes' numbers, bit for bit: $about", (made) => {
    const m = packedOfFixture(made);
    const y = unpack4bit(m);
    const [out, inputs] = made.shape;
    expect(y.shape).toEqual(made.shape);
    const reference = unpack4bitReference(arraysOf(m.tensors), m.attributes);
    expect(sha256(reference)).toBe(made.sha256);
    // The composition may lose the sign of what float16 rounds to zero.
    if (by === 'composition' || !tf.getKernel('SpftUnpack4bit', backend)) expectAllClose('y', y, reference, same);
    else expect(sha256(valuesOf(y))).toBe(made.sha256);
    const [rows, columns] = [someOf(out), someOf(inputs)];
    const some = unpack4bitRows(m, rows.indices);
    expectAllClose('rows', some, tf.gather(y, rows.indices).dataSync(), same);
    const others = unpack4bitColumns(m, columns.indices);
    expectAllClose('columns', others, tf.gather(y, columns.indices, 1).dataSync(), same);
    tf.dispose([y, some, others, rows.indices, columns.indices]);
    disposePacked(m);
  });

  it('multiplies as by the unpacked matrix, and its gradient is that of finite differences', async () => {
    const m = packedOfFixture(FIXTURE_CASES.at(-1)!);
    const x = random2d(3, m.attributes.in, 1);
    const y = linear4bit(x, m);
    const whole = unpack4bit(m);
    expectAllClose('y', y, tf.matMul(x, whole, false, true).dataSync());
    tf.dispose([y, whole]);
    expectGradients('linear4bit', (x) => linear4bit(x as tf.Tensor2D, m), [x]);
    await expectNoLeak(() => linear4bit(x, m), 1);
    await expectNoLeak(() => unpack4bit(m), 1);
    expect(() => linear4bit(tf.zeros([3, 5]), m)).toThrow('must have as many columns as the matrix [8,128]');
    disposePacked(m);
    x.dispose();
  });

  it('has nothing to unpack of no rows and no columns', () => {
    const m = packedOfFixture(FIXTURE_CASES[0]!);
    const none = tf.tensor1d([], 'int32');
    const made = [unpack4bitRows(m, none), unpack4bitColumns(m, none)];
    expect(made.map(({ shape }) => shape)).toEqual([
      [0, 256],
      [80, 0],
    ]);
    tf.dispose([...made, none]);
    disposePacked(m);
  });
});

describe.each(PATHS.filter(([, by]) => by === 'kernels'))('packedTensor() on %s', (backend, by) => {
  usePath(backend, by);

  it('is a tensor whose values are what it stands for; each of two ends by itself, and its codes with the last', async () => {
    const { numTensors: before, numBytes } = tf.memory();
    const x = packedTensor(packedOfFixture(FIXTURE_CASES[0]!));
    // Half a byte for each number, one for each scale, and the code books.
    if (storedMatrixOf(x)) expect(tf.memory().numBytes - numBytes).toBe(x.size / 2 + x.size / 64 + 4 * (2 + 16 + 256));
    const again = tf.tidy(() => tf.keep(anotherOf(x)));
    const values = await x.data();
    expect(sha256(values as Float32Array)).toBe(FIXTURE_CASES[0]!.sha256);
    x.dispose();
    expect([...again.dataSync()]).toEqual([...values]);
    const parts = partsOf(again, { type: 'nf4', attributes: attributesOf(FIXTURE_CASES[0]!) });
    again.dispose();
    expect(Buffer.from(parts.tensors.codes.dataSync()).toString('base64')).toBe(FIXTURE_CASES[0]!.codes);
    disposePacked(parts);
    expect(tf.memory()).toMatchObject({ numTensors: before, numBytes });
  });

  it('is right for a kernel that knows nothing of forms, and plain from then on', () => {
    const { numTensors: before, numBytes } = tf.memory();
    const x = packedTensor(packedOfFixture(FIXTURE_CASES[1]!));
    const values = x.dataSync();
    const twice = tf.mul(x, 2);
    expectAllClose(
      'twice',
      twice,
      values.map((v) => 2 * v),
      same,
    );
    expect(storedMatrixOf(x)).toBeNull();
    expectAllClose('itself', x, values, same);
    tf.dispose([x, twice]);
    expect(tf.memory()).toMatchObject({ numTensors: before, numBytes });
  });
});

function attributesOf(made: Made): Packed4bitAttributes {
  const m = packedOfFixture(made);
  disposePacked(m);
  return m.attributes;
}

const sha256 = (values: Float32Array) =>
  createHash('sha256').update(new Uint8Array(values.slice().buffer)).digest('hex');

const arraysOf = (tensors: Readonly<Record<string, tf.Tensor>>) =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, tensor.dataSync()])) as never;
