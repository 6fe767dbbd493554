/** @file LoRA and DoRA on top of a base product, DoRA's norms, and dropout. */
import { doraLinear, doraNorms } from '../../project/dora-linear.js';
import { doraLinearReference, doraNormsReference } from '../../project/dora-linear.reference.js';
import { dropout } from '../../project/dropout.js';
import { dropoutReference } from '../../project/dropout.reference.js';
import { loraLinear } from '../../project/lora-linear.js';
import { loraLinearGradReference, loraLinearReference } from '../../project/lora-linear.reference.js';
import { rescaleColumns } from '../../project/rescale-columns.js';
import { type ConformanceCase, float, matrix, type Numbers, trained, vector, vectorOrNull } from '../case.js';

const SCALING = 0.5;

/** Rows, inputs, outputs, rank, and whether there is a bias. */
const SHAPES: readonly (readonly [T: number, In: number, Out: number, r: number, bias: boolean])[] = [
  [7, 5, 3, 2, true],
  [1, 9, 11, 1, false],
  [0, 4, 6, 3, true],
  [40, 64, 32, 8, false],
];

function doraGradients(v: Numbers, dy: Float32Array, [T, In, Out, r]: (typeof SHAPES)[number]) {
  const norms = doraNormsReference(v.weight!, v.loraA!, v.loraB!, SCALING, { In, Out, r });
  const dbase = dy.map((g, i) => (g * v.magnitude![i % Out]!) / norms[i % Out]!);
  const shapes = { T, In, Out, r };
  const [dx, , dA, dB] = loraLinearGradReference(v.x!, v.loraA!, v.loraB!, dbase, SCALING, shapes);
  const z = loraLinearReference(v.x!, v.base!, v.loraA!, v.loraB!, SCALING, shapes);
  const dm = new Float64Array(Out);
  for (let i = 0; i < dy.length; i++) {
    const o = i % Out;
    dm[o]! += (dy[i]! * (z[i]! - (v.bias?.[o] ?? 0))) / norms[o]!;
  }
  return { x: dx!, base: dbase, loraA: dA!, loraB: dB!, magnitude: dm };
}

const ofShapes = SHAPES.flatMap((shape): ConformanceCase[] => {
  const [T, In, Out, r, bias] = shape;
  const about = `[${T}, ${In}] to ${Out}, rank ${r}${bias ? ', a bias' : ''}`;
  const branch = { loraA: trained(r, In), loraB: trained(Out, r) };
  return [
    {
      name: `loraLinear() ${about}`,
      kernels: ['SpftLoraLinear', 'SpftLoraLinearGrad'],
      inputs: { x: float(T, In), base: float(T, Out), ...branch },
      run: ({ x, base, loraA, loraB }) => [loraLinear(matrix(x), matrix(base), matrix(loraA), matrix(loraB), SCALING)],
      expected: (v) => [loraLinearReference(v.x!, v.base!, v.loraA!, v.loraB!, SCALING, { T, In, Out, r })],
      gradients: (v, [dy]) => {
        const [x, base, loraA, loraB] = loraLinearGradReference(v.x!, v.loraA!, v.loraB!, dy!, SCALING, {
          T,
          In,
          Out,
          r,
        });
        return { x: x!, base: base!, loraA: loraA!, loraB: loraB! };
      },
    },
    {
      name: `doraLinear() ${about}`,
      kernels: ['SpftDoraLinear', 'SpftDoraLinearGrad', 'SpftDoraNorms'],
      inputs: {
        ...{ x: float(T, In), base: float(T, Out), ...branch, magnitude: trained(Out), weight: float(Out, In) },
        ...(bias && { bias: float(Out) }),
      },
      run: (t) => [
        doraLinear(
          ...([matrix(t.x), matrix(t.base), matrix(t.loraA), matrix(t.loraB)] as const),
          ...([vector(t.magnitude), matrix(t.weight), SCALING, vectorOrNull(t.bias)] as const),
        ),
      ],
      expected: (v) => {
        const norms = doraNormsReference(v.weight!, v.loraA!, v.loraB!, SCALING, { In, Out, r });
        const shapes = { T, In, Out, r };
        return [
          doraLinearReference(v.x!, v.base!, v.loraA!, v.loraB!, v.magnitude!, norms, v.bias ?? null, SCALING, shapes),
        ];
      },
      gradients: (v, [dy]) => doraGradients(v, dy!, shape),
    },
    {
      name: `doraNorms() ${about}`,
      kernels: ['SpftDoraNorms'],
      inputs: { weight: float(Out, In), ...branch },
      run: ({ weight, loraA, loraB }) => [doraNorms(matrix(weight), matrix(loraA), matrix(loraB), SCALING)],
      expected: (v) => [doraNormsReference(v.weight!, v.loraA!, v.loraB!, SCALING, { In, Out, r })],
    },
    {
      name: `rescaling to magnitudes, [${T}, ${Out}]`,
      kernels: ['SpftRescaleColumns'],
      inputs: { z: float(T, Out), magnitude: trained(Out), norms: trained(Out) },
      run: ({ z, magnitude, norms }) => [rescaleColumns(matrix(z), vector(magnitude), vector(norms))],
      expected: ({ z, magnitude, norms }) => [z!.map((x, i) => (x * magnitude![i % Out]!) / norms![i % Out]!)],
    },
  ];
});

const ofDropout = [
  [0.3, 0, [7, 5]],
  [0.5, -123456789, [3]],
  [0.05, 2 ** 31 + 5, [0, 4]],
  [0.9, 7, [40, 33]],
] as const;

export const adapterCases: readonly ConformanceCase[] = [
  ...ofShapes,
  ...ofDropout.map(
    ([rate, seed, shape]): ConformanceCase => ({
      name: `dropout() of [${shape}], rate ${rate}, seed ${seed}`,
      kernels: ['SpftDropout'],
      inputs: { x: float(...shape) },
      run: ({ x }) => [dropout(x!, rate, seed)],
      expected: ({ x }) => [dropoutReference(x!, rate, seed)],
      gradients: (_, [dy]) => ({ x: dropoutReference(dy!, rate, seed) }),
    }),
  ),
];
