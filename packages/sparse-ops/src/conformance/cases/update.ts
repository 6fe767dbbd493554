/** @file Steps of the optimizers over tensors of all sizes, the norm of gradients, and tensors as they lie in files. */
import * as tf from '@tensorflow/tfjs';
import { e4m3WeightReference } from '../../engine/e4m3.reference.js';
import { storedLike, storedTensor } from '../../engine/stored-tensor.js';
import { storeAs } from '../../forms/stored-form.js';
import { adamw8bitUpdate, momentTablesTensor } from '../../update/adamw-8bit.js';
import { adamw8bitReference, type Moment8bit } from '../../update/adamw-8bit.reference.js';
import { BLOCK, blocksOf } from '../../update/dynamic-map.js';
import { globalNorm } from '../../update/global-norm.js';
import { globalNormReference } from '../../update/global-norm.reference.js';
import { adamwUpdate, sgdUpdate } from '../../update/optimizer-update.js';
import {
  type CaseInput,
  type ConformanceCase,
  float,
  given,
  int32,
  matrix,
  type Numbers,
  type Tensors,
  trained,
  variableOf,
} from '../case.js';
import { normals } from '../numbers.js';

const SHAPES = [[3, 5], [1], [0, 2], [40, 33]];
const COUNT = SHAPES.length;
const places = SHAPES.map((_, n) => n);

/** Tensors of a role, one for each shape. */
const roleOf = (role: string, make: (shape: number[], n: number) => CaseInput): Record<string, CaseInput> =>
  Object.fromEntries(SHAPES.map((shape, n) => [`${role}${n}`, make(shape, n)]));

/** Squares of numbers, as a second moment is of. */
const squares = (shape: number[], n: number) => {
  const size = shape.reduce((product, length) => product * length, 1);
  return given(
    shape,
    [...normals(size, 40 + n)].map((x) => x * x),
  );
};

const variables = (t: Tensors, role: string) => places.map((n) => variableOf(t[`${role}${n}`]!));

/** What variables hold, as tensors; the variables end. */
function valuesOf(...roles: readonly (readonly tf.Variable[])[]): tf.Tensor[] {
  const values = roles.flat().map((variable) => tf.clone(variable) as tf.Tensor);
  tf.dispose(roles.flat());
  return values;
}

const numbersOf = (v: Numbers, role: string) => places.map((n) => v[`${role}${n}`]!);

const ofAdamw = [
  { step: 1, weightDecay: 0, scale: null },
  { step: 7, weightDecay: 0.1, scale: 0.3 },
].map(({ step, weightDecay, scale }): ConformanceCase => {
  const [learningRate, beta1, beta2, epsilon] = [0.05, 0.8, 0.95, 1e-3];
  return {
    name: `adamwUpdate() of ${COUNT} tensors, step ${step}${scale === null ? '' : ', decay and scaled gradients'}`,
    kernels: ['SpftAdamw'],
    inputs: {
      ...{ ...roleOf('p', (s) => trained(...s)), ...roleOf('g', (s) => trained(...s)) },
      ...{ ...roleOf('m', (s) => trained(...s)), ...roleOf('v', squares) },
      ...(scale !== null && { gradientScale: given([], [scale]) }),
    },
    run: (t) => {
      const [p, m, v] = ['p', 'm', 'v'].map((role) => variables(t, role)) as [
        tf.Variable[],
        tf.Variable[],
        tf.Variable[],
      ];
      const options = { learningRate, weightDecay, beta1, beta2, epsilon, step };
      const gradients = places.map((n) => t[`g${n}`]!);
      const gradientScale = t.gradientScale as tf.Scalar | undefined;
      try {
        adamwUpdate(p, gradients, { firstMoments: m, secondMoments: v }, { ...options, gradientScale });
      } catch (error) {
        tf.dispose([p, m, v]);
        throw error;
      }
      return valuesOf(p, m, v);
    },
    expected: (given) => {
      const [p, g, m, v] = ['p', 'g', 'm', 'v'].map((role) => numbersOf(given, role)) as [
        Float32Array[],
        Float32Array[],
        Float32Array[],
        Float32Array[],
      ];
      const scaled = g.map((values) => values.map((x) => x * (scale ?? 1)));
      const mean = m.map((values, n) => values.map((x, i) => beta1 * x + (1 - beta1) * scaled[n]![i]!));
      const square = v.map((values, n) => values.map((x, i) => beta2 * x + (1 - beta2) * scaled[n]![i]! ** 2));
      const moved = p.map((values, n) =>
        values.map((x, i) => {
          const [first, second] = [mean[n]![i]! / (1 - beta1 ** step), square[n]![i]! / (1 - beta2 ** step)];
          return x * (1 - learningRate * weightDecay) - (learningRate * first) / (Math.sqrt(second) + epsilon);
        }),
      );
      return [...moved, ...mean, ...square];
    },
  };
});

/**
 * Codes of every byte, and scales of many sizes, as the moments of a parameter that some steps have changed. In each word the first or the last is 0, so
 * that the word is a float32 too, through which inputs of cases go.
 */
const momentsOf = (size: number, seed: number): Moment8bit => ({
  codes: Uint8Array.from({ length: blocksOf(size) * BLOCK }, (_, i) =>
    i % 8 === 3 || i % 8 === 4 ? 0 : (i * 89 + seed * 37) % 256,
  ),
  scales: Float32Array.from(normals(blocksOf(size), seed), (x, n) => (n === 1 ? 0 : Math.abs(x) * 10 ** -seed)),
});
const wordsOf = ({ codes }: Moment8bit) => int32([...new Int32Array(codes.buffer)]);
const bytesOf = (words: tf.Variable) => new Uint8Array(words.dataSync<'int32'>().slice().buffer);

const ofAdamw8bit = [
  { step: 1, weightDecay: 0, scale: null },
  { step: 7, weightDecay: 0.1, scale: 0.3 },
].map(({ step, weightDecay, scale }): ConformanceCase => {
  const [learningRate, beta1, beta2, epsilon] = [0.05, 0.8, 0.95, 1e-3];
  const sizes = SHAPES.map((shape) => tf.util.sizeFromShape(shape));
  const [first, second] = [0, 3].map((kind) => sizes.map((size, n) => momentsOf(size, kind + n))) as [
    Moment8bit[],
    Moment8bit[],
  ];
  const inputs = (role: string, of: readonly Moment8bit[]) =>
    Object.fromEntries(
      of.flatMap((moment, n) => [
        [`${role}Codes${n}`, wordsOf(moment)],
        [`${role}Scales${n}`, given([moment.scales.length], [...moment.scales])],
      ]),
    );
  return {
    name: `adamw8bitUpdate() of ${COUNT} tensors, step ${step}${scale === null ? '' : ', decay and scaled gradients'}`,
    kernels: ['SpftAdamw8bit'],
    inputs: {
      ...{ ...roleOf('p', (s) => trained(...s)), ...roleOf('g', (s) => trained(...s)) },
      ...{ ...inputs('m', first), ...inputs('v', second) },
      ...(scale !== null && { gradientScale: given([], [scale]) }),
    },
    run: (t) => {
      const roles = ['p', 'mCodes', 'mScales', 'vCodes', 'vScales'].map((role) => variables(t, role));
      const [p, firstCodes, firstScales, secondCodes, secondScales] = roles as [
        ...[tf.Variable[], tf.Variable[], tf.Variable[], tf.Variable[], tf.Variable[]],
      ];
      const tables = momentTablesTensor();
      try {
        const state = { firstCodes, firstScales, secondCodes, secondScales };
        const options = { learningRate, weightDecay, beta1, beta2, epsilon, step };
        const gradients = places.map((n) => t[`g${n}`]!);
        adamw8bitUpdate(p, gradients, state, tables, {
          ...options,
          gradientScale: t.gradientScale as tf.Scalar | undefined,
        });
        return [
          ...p.map((variable) => tf.tensor(variable.dataSync(), variable.shape)),
          ...[firstCodes, secondCodes].flatMap((codes) => codes.map((words) => tf.tensor1d(bytesOf(words), 'float32'))),
          ...[firstScales, secondScales].flatMap((scales) => scales.map((one) => tf.tensor1d(one.dataSync()))),
        ];
      } finally {
        tf.dispose([tables, ...roles.flat()]);
      }
    },
    expected: (v) => {
      const made = places.map((n) => {
        // Filled up to whole blocks, as codes are.
        const filled = (values: Float32Array) =>
          Float32Array.from({ length: first[n]!.codes.length }, (_, i) => values[i] ?? 0);
        const [p, g] = [filled(v[`p${n}`]!), filled(v[`g${n}`]!)];
        const options = { learningRate, weightDecay, beta1, beta2, epsilon, step, scale: scale ?? 1 };
        return adamw8bitReference(p, g, first[n]!, second[n]!, options);
      });
      return [
        ...made.map(({ p }, n) => p.subarray(0, sizes[n])),
        ...made.map((one) => one.first.codes),
        ...made.map((one) => one.second.codes),
        ...made.map((one) => one.first.scales),
        ...made.map((one) => one.second.scales),
      ];
    },
  };
});

const ofSgd = [
  { momentum: 0, weightDecay: 0.1, scale: null },
  { momentum: 0.9, weightDecay: 0, scale: 0.3 },
].map(({ momentum, weightDecay, scale }): ConformanceCase => {
  const learningRate = 0.05;
  return {
    name: `sgdUpdate() of ${COUNT} tensors, momentum ${momentum}`,
    kernels: ['SpftSgd'],
    inputs: {
      ...{ ...roleOf('p', (s) => trained(...s)), ...roleOf('g', (s) => trained(...s)) },
      ...(momentum > 0 && roleOf('m', (s) => trained(...s))),
      ...(scale !== null && { gradientScale: given([], [scale]) }),
    },
    run: (t) => {
      const p = variables(t, 'p');
      const momenta = momentum > 0 ? variables(t, 'm') : [];
      const gradients = places.map((n) => t[`g${n}`]!);
      const gradientScale = t.gradientScale as tf.Scalar | undefined;
      try {
        sgdUpdate(p, gradients, { momenta }, { learningRate, weightDecay, momentum, gradientScale });
      } catch (error) {
        tf.dispose([p, momenta]);
        throw error;
      }
      return valuesOf(p, momenta);
    },
    expected: (given) => {
      const [p, g] = [numbersOf(given, 'p'), numbersOf(given, 'g')];
      const steps = p.map((values, n) =>
        values.map((x, i) => {
          const before = momentum > 0 ? momentum * given[`m${n}`]![i]! : 0;
          return before + g[n]![i]! * (scale ?? 1) + weightDecay * x;
        }),
      );
      const moved = p.map((values, n) => values.map((x, i) => x - learningRate * steps[n]![i]!));
      return momentum > 0 ? [...moved, ...steps] : moved;
    },
  };
});

const ofNorm: ConformanceCase = {
  name: `globalNorm() of ${COUNT} tensors`,
  kernels: ['SpftGlobalNorm'],
  inputs: roleOf('t', (s) => float(...s)),
  run: (t) => [globalNorm(places.map((n) => t[`t${n}`]!))],
  expected: (v) => [[globalNormReference(numbersOf(v, 't'))]],
};

/** Numbers that every element type holds exactly. */
const EXACT = Array.from({ length: 35 }, (_, n) => (n - 17) / 8);

const bits = new Uint32Array(1);
const single = new Float32Array(bits.buffer);
const words = {
  F32: () => new Uint8Array(Float32Array.from(EXACT).buffer),
  BF16: () =>
    new Uint8Array(
      Uint16Array.from(EXACT, (x) => {
        single[0] = x;
        return bits[0]! >>> 16;
      }).buffer,
    ),
  // Of these numbers the exponent and the ten leading bits of the fraction are all there is.
  F16: () =>
    new Uint8Array(
      Uint16Array.from(EXACT, (x) => {
        if (x === 0) return 0;
        single[0] = x;
        const exponent = ((bits[0]! >>> 23) & 255) - 112;
        return ((bits[0]! >>> 16) & 0x8000) | (exponent << 10) | ((bits[0]! >>> 13) & 1023);
      }).buffer,
    ),
};

const ofStored = (['F32', 'BF16', 'F16'] as const).flatMap((stored) =>
  [[5, 7], [35], [0, 4]].map(
    (shape): ConformanceCase => ({
      name: `storedTensor() of [${shape}] from ${stored}`,
      kernels: ['SpftStoredTensor'],
      inputs: {},
      run: () => [storedTensor(shape[0] === 0 ? new Uint8Array() : words[stored](), stored, shape)],
      expected: () => [shape[0] === 0 ? [] : EXACT],
    }),
  ),
);

const ofLike: ConformanceCase = {
  name: 'storedLike() of another',
  kernels: ['SpftStoredLike'],
  inputs: { x: given([5, 7], EXACT), like: float(3, 2) },
  run: ({ x, like }) => [storedLike(x!, like!)],
  expected: () => [EXACT],
};

const ofForms = [
  [5, 7],
  [40, 32],
  [0, 4],
].map(
  ([out, inputs]): ConformanceCase => ({
    name: `storeAs() of [${out}, ${inputs}] in FP8`,
    kernels: ['SpftStoreAs'],
    inputs: { x: float(out!, inputs!) },
    run: ({ x }) => [storeAs(matrix(x), 'fp8')],
    expected: ({ x }) => [e4m3WeightReference(x!)],
  }),
);

export const updateCases: readonly ConformanceCase[] = [
  ...ofAdamw,
  ...ofAdamw8bit,
  ...ofSgd,
  ofNorm,
  ...ofStored,
  ofLike,
  ...ofForms,
];
