/** @file Frozen linear layers: whole, by kept rows, by kept columns. */
import { linear } from '../../project/linear.js';
import { linearReference } from '../../project/linear.reference.js';
import { linearKeptColumns } from '../../project/linear-kept-columns.js';
import {
  linearKeptColumnsGradReference,
  linearKeptColumnsReference,
} from '../../project/linear-kept-columns.reference.js';
import { linearKeptRows } from '../../project/linear-kept-rows.js';
import { linearKeptRowsGradReference, linearKeptRowsReference } from '../../project/linear-kept-rows.reference.js';
import { product } from '../../project/lora-linear.reference.js';
import { type ConformanceCase, float, int32, matrix, selection, someOf, vectorOrNull } from '../case.js';

/** Rows, inputs, outputs, and whether there is a bias. */
const SHAPES: readonly (readonly [T: number, In: number, Out: number, bias: boolean])[] = [
  [7, 5, 3, true],
  [1, 13, 17, false],
  [0, 4, 6, true],
  [40, 64, 32, true],
];

const about = ([T, In, Out, bias]: (typeof SHAPES)[number]) =>
  `[${T}, ${In}] by [${Out}, ${In}]${bias ? ' and a bias' : ''}`;

export const linearCases: readonly ConformanceCase[] = SHAPES.flatMap((shape): ConformanceCase[] => {
  const [T, In, Out, bias] = shape;
  const [rows, columns] = [someOf(Out), someOf(In)];
  const weights = { weight: float(Out, In), ...(bias && { bias: float(Out) }) };
  return [
    {
      name: `linear() ${about(shape)}`,
      kernels: ['SpftLinear', 'SpftLinearGrad'],
      inputs: { x: float(T, In), ...weights },
      run: ({ x, weight, bias }) => [linear(matrix(x), matrix(weight), vectorOrNull(bias))],
      expected: ({ x, weight, bias }) => [linearReference(x!, weight!, bias ?? null, T, In, Out)],
      gradients: ({ weight }, [dy]) => ({ x: product(dy!, weight!, T, Out, In) }),
    },
    {
      name: `linearKeptRows() ${about(shape)}`,
      kernels: ['SpftLinearKeptRows', 'SpftLinearKeptRowsGrad'],
      inputs: { x: float(T, In), ...weights, indices: int32(rows) },
      run: ({ x, weight, bias, indices }) => [
        linearKeptRows(matrix(x), matrix(weight), selection(indices, Out), vectorOrNull(bias)),
      ],
      expected: ({ x, weight, bias }) => [linearKeptRowsReference(x!, weight!, rows, bias ?? null, T, In)],
      gradients: ({ weight }, [dy]) => ({ x: linearKeptRowsGradReference(dy!, weight!, rows, T, In) }),
    },
    {
      name: `linearKeptColumns() ${about(shape)}`,
      kernels: ['SpftLinearKeptColumns', 'SpftLinearKeptColumnsGrad'],
      inputs: { x: float(T, columns.length), ...weights, indices: int32(columns) },
      run: ({ x, weight, bias, indices }) => [
        linearKeptColumns(matrix(x), matrix(weight), selection(indices, In), vectorOrNull(bias)),
      ],
      expected: ({ x, weight, bias }) => [linearKeptColumnsReference(x!, weight!, columns, bias ?? null, T, Out, In)],
      gradients: ({ weight }, [dy]) => ({ x: linearKeptColumnsGradReference(dy!, weight!, columns, T, Out, In) }),
    },
  ];
});
