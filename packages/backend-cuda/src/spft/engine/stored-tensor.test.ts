/** @file Weights from files, without a float32 copy on the host; and merged weights, which are stored as the frozen ones. */
import { LlamaForCausalLM, type WeightSource } from '@spft/models';
import { getPeftModel } from '@spft/peft';
import { storedLike, storedTensor } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import { TINY, tinyWeights } from '../../../../models/test/tiny.js';
import { bf16Bits, roundToBf16 } from '../../../test/compare.js';
import { cuda, describeCuda } from '../../../test/cuda.js';

/** All numbers of half precision that are not NaN, and what they are. */
const HALVES = Array.from({ length: 65536 }, (_, bits) => bits).filter((bits) => (bits & 0x7fff) <= 0x7c00);
function halfValue(bits: number): number {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return sign * Infinity;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

/** A checkpoint in memory that may not be asked for float32 values. */
function storedSource(dtype: 'BF16' | 'F32'): WeightSource & { readonly reading: Set<string>; most: number } {
  const weights = tinyWeights(TINY);
  const source = {
    names: [...weights.keys()],
    reading: new Set<string>(),
    most: 0,
    entry: (name: string) => ({ dtype, shape: weights.get(name)!.shape }),
    float32: (name: string): never => {
      throw new Error(`float32('${name}') was asked for`);
    },
    async bytes(name: string) {
      source.reading.add(name);
      source.most = Math.max(source.most, source.reading.size);
      await new Promise((resolve) => setImmediate(resolve));
      source.reading.delete(name);
      const { data } = weights.get(name)!;
      return new Uint8Array(dtype === 'F32' ? data.slice().buffer : Uint16Array.from(data, bf16Bits).buffer);
    },
  };
  return source;
}

describeCuda('storedTensor() on cuda', () => {
  it('takes every number of half precision', () => {
    const bytes = new Uint8Array(Uint16Array.from(HALVES).buffer);
    const vector = storedTensor(bytes, 'F16', [HALVES.length]);
    expect(cuda().physical(vector)).toBe('f32');
    const values = vector.dataSync();
    expect(HALVES.filter((bits, n) => !Object.is(values[n], halfValue(bits)))).toEqual([]);
    const matrix = storedTensor(bytes, 'F16', [1, HALVES.length]);
    expect(cuda().physical(matrix)).toBe('bf16');
    const rounded = matrix.dataSync();
    expect(HALVES.filter((bits, n) => !Object.is(rounded[n], roundToBf16(halfValue(bits))))).toEqual([]);
    tf.dispose([vector, matrix]);
  });

  it.each(['BF16', 'F32'] as const)(
    'loads a model of %s without a float32 copy on the host, reading ahead',
    async (dtype) => {
      const before = cuda().numDataIds();
      const source = storedSource(dtype);
      const progress: number[] = [];
      const model = await LlamaForCausalLM.fromWeights(TINY, source, { onProgress: (loaded) => progress.push(loaded) });
      expect(progress).toEqual([...source.names].map((_, n) => n + 1));
      expect(source.most).toBeGreaterThan(1);
      const reference = tinyWeights(TINY);
      for (const [name, tensor] of model.tensors) {
        const matrix = tensor.rank === 2;
        expect([name, cuda().physical(tensor)]).toEqual([name, matrix ? 'bf16' : 'f32']);
        const stored = reference.get(name)!.data.map((x) => (matrix || dtype === 'BF16' ? roundToBf16(x) : x));
        expect(tensor.dataSync(), name).toEqual(stored);
      }
      model.dispose();
      expect(cuda().numDataIds()).toBe(before);
    },
  );

  it('gives back what it read where one tensor cannot be read', async () => {
    const before = cuda().numDataIds();
    const source = storedSource('BF16');
    const bytes = source.bytes!;
    const broken = (name: string) =>
      name.includes('up_proj') ? Promise.reject(new Error('the disk is gone')) : bytes(name);
    await expect(LlamaForCausalLM.fromWeights(TINY, { ...source, bytes: broken })).rejects.toThrow('the disk is gone');
    expect(cuda().numDataIds()).toBe(before);
  });
});

describeCuda('storedLike() on cuda', () => {
  it('is bf16 beside bf16, and the same tensor beside float', () => {
    const x = tf.tensor2d([[1.001, 2]]);
    const like = storedTensor(new Uint8Array(4), 'BF16', [1, 2]);
    const y = storedLike(x, like);
    expect(cuda().physical(y)).toBe('bf16');
    expect([...y.dataSync()]).toEqual([1, 2]);
    const same = storedLike(x, x);
    expect([...same.dataSync()]).toEqual([...x.dataSync()]);
    tf.dispose([x, like, y, same]);
  });

  it.each(['lora', 'dora'])('keeps weights in bf16 that a %s is merged into', async (method) => {
    const model = await LlamaForCausalLM.fromWeights(TINY, storedSource('BF16'));
    const peft = getPeftModel(model, {
      r: 2,
      targetModules: ['q_proj', 'up_proj'],
      initLoraWeights: false,
      useDora: method === 'dora',
    });
    const name = 'model.layers.1.mlp.up_proj';
    const before = model.linears.get(name)!.weight.dataSync();
    peft.merge();
    const { weight } = model.linears.get(name)!;
    expect(cuda().physical(weight)).toBe('bf16');
    expect(weight.dataSync()).not.toEqual(before);
    peft.unmerge();
    expect(model.linears.get(name)!.weight.dataSync()).toEqual(before);
    peft.dispose();
    model.dispose();
  });
});
