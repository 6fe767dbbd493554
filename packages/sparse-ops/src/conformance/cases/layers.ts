/**
 * @file Ops that span several products: q, k and v in one, o on top of the residual stream, the gated MLP without and with branches. Dense rows alone, sparse rows alone, both,
 * none; biases on some of the layers; branches of LoRA and DoRA on some of them.
 */
import { constant } from '../../engine/tape.js';
import { gatedMlp } from '../../mlp/gated-mlp.js';
import { gatedMlpGradReference, gatedMlpReference, type MlpReference } from '../../mlp/gated-mlp.reference.js';
import { loraMlp } from '../../mlp/lora-mlp.js';
import { type LoraMlpReference, loraMlpGradReference, loraMlpReference } from '../../mlp/lora-mlp.reference.js';
import type { FrozenLayer } from '../../project/frozen-layer.js';
import { projectColumns } from '../../project/project-columns.js';
import { projectRows } from '../../project/project-rows.js';
import { type LayerReference, layerGradReference, layerReference } from '../../project/project-rows.reference.js';
import {
  type CaseInput,
  type ConformanceCase,
  float,
  int32,
  matrix,
  type Numbers,
  selection,
  someOf,
  type Tensors,
  trained,
  vectorOrNull,
} from '../case.js';

const SCALING = 0.5;

/** A layer of a case: what it has, and where its tensors are among the case's. */
interface LayerCase {
  readonly out: number;
  readonly inputs: number;
  readonly selects: 'outputs' | 'inputs' | null;
  readonly bias?: boolean;
  /** 0 for no branch. */
  readonly rank?: number;
  readonly magnitude?: boolean;
}

const keptOf = ({ selects, out, inputs }: LayerCase) => (selects ? someOf(selects === 'outputs' ? out : inputs) : null);

function inputsOf(layer: LayerCase, n: number): Record<string, CaseInput> {
  const { out, inputs, bias = false, rank = 0, magnitude = false } = layer;
  const kept = keptOf(layer);
  return {
    [`weight${n}`]: float(out, inputs),
    ...(bias && { [`bias${n}`]: float(out) }),
    ...(kept && { [`indices${n}`]: int32(kept) }),
    ...(rank > 0 && { [`a${n}`]: trained(rank, inputs), [`b${n}`]: trained(out, rank) }),
    ...(magnitude && { [`m${n}`]: trained(out) }),
  };
}

function layerOf(t: Tensors, layer: LayerCase, n: number): FrozenLayer {
  const { out, inputs, selects, rank = 0 } = layer;
  return {
    weight: matrix(t[`weight${n}`]),
    bias: vectorOrNull(t[`bias${n}`]),
    keep: selects ? selection(t[`indices${n}`], selects === 'outputs' ? out : inputs) : null,
    lora:
      rank > 0
        ? { a: matrix(t[`a${n}`]), b: matrix(t[`b${n}`]), scaling: SCALING, magnitude: vectorOrNull(t[`m${n}`]) }
        : null,
  };
}

function referenceOf(v: Numbers, layer: LayerCase, n: number): LayerReference {
  const { out, inputs, rank = 0 } = layer;
  const kept = keptOf(layer);
  return {
    ...{ out, inputs, weight: v[`weight${n}`]!, bias: v[`bias${n}`] ?? null, keep: kept && new Set(kept) },
    lora:
      rank > 0 ? { a: v[`a${n}`]!, b: v[`b${n}`]!, r: rank, scaling: SCALING, magnitude: v[`m${n}`] ?? null } : null,
  };
}

/** Gradients of layer n's branch by the names of its tensors. */
function branchGradients(gradients: ReturnType<typeof layerGradReference>, n: number) {
  const { dA, dB, dm } = gradients;
  return { ...(dA && { [`a${n}`]: dA }), ...(dB && { [`b${n}`]: dB }), ...(dm && { [`m${n}`]: dm }) };
}

const sum = (arrays: readonly ArrayLike<number>[]): Float64Array =>
  Float64Array.from({ length: arrays[0]!.length }, (_, i) => arrays.reduce((total, array) => total + array[i]!, 0));

const rowsCase = (
  name: string,
  [T, D, inputs]: readonly [number, number, number],
  layers: readonly Omit<LayerCase, 'inputs'>[],
  { withInput = true, turnedNext = false } = {},
): ConformanceCase => {
  const all = layers.map((layer) => ({ ...layer, inputs }));
  return {
    name: `projectRows() ${name}`,
    kernels: ['SpftProjectRows', 'SpftProjectRowsGrad'],
    inputs: Object.assign({ x: float(T, inputs) }, ...all.map(inputsOf)),
    run: (t) => {
      const x = withInput ? matrix(t.x) : constant(matrix(t.x));
      return projectRows(
        x,
        all.map((layer, n) => layerOf(t, layer, n)),
        D,
        { turnedNext },
      );
    },
    expected: (v) => all.map((layer, n) => layerReference(v.x!, T, referenceOf(v, layer, n), D, 'outputs')),
    gradients: (v, dys) => {
      const ofLayers = all.map((layer, n) =>
        layerGradReference(v.x!, dys[n]!, T, referenceOf(v, layer, n), D, 'outputs'),
      );
      const x = sum(ofLayers.map(({ dx }) => dx));
      return Object.assign(withInput ? { x } : {}, ...ofLayers.map(branchGradients));
    },
  };
};

const columnsCase = (name: string, [T, D]: readonly [number, number], layer: LayerCase): ConformanceCase => ({
  name: `projectColumns() ${name}`,
  kernels: ['SpftProjectColumns', 'SpftProjectColumnsGrad'],
  inputs: { x: float(T, layer.inputs), residual: float(T, layer.out), ...inputsOf(layer, 0) },
  run: (t) => [projectColumns(matrix(t.x), matrix(t.residual), layerOf(t, layer, 0), D)],
  expected: (v) => [sum([v.residual!, layerReference(v.x!, T, referenceOf(v, layer, 0), D, 'inputs')])],
  gradients: (v, [dy]) => {
    const gradients = layerGradReference(v.x!, dy!, T, referenceOf(v, layer, 0), D, 'inputs');
    return { x: gradients.dx, residual: dy!, ...branchGradients(gradients, 0) };
  },
});

/** @param biases of gate, up and down, where they have one. */
function mlpCase(
  [T, D, H, I]: readonly [number, number, number, number],
  biases: readonly ('gate' | 'up' | 'down')[],
  sparse = true,
): ConformanceCase {
  const kept = someOf(I);
  const has = (name: 'gate' | 'up' | 'down', size: number) => biases.includes(name) && { [`${name}Bias`]: float(size) };
  const reference = (v: Numbers): MlpReference => {
    const layer = (name: string, out: number, inputs: number): LayerReference => ({
      ...{ weight: v[name]!, bias: v[`${name}Bias`] ?? null, keep: sparse ? new Set(kept) : null, lora: null },
      ...{ out, inputs },
    });
    return { gate: layer('gate', I, H), up: layer('up', I, H), down: layer('down', H, I) };
  };
  return {
    name: `gatedMlp() of [${T}, ${H}] with ${I} channels, ${D} rows dense${sparse ? '' : ', nothing selected'}, biases: ${biases.join(', ') || 'none'}`,
    kernels: ['SpftGatedMlp', 'SpftGatedMlpGrad'],
    inputs: {
      ...{ x: float(T, H), residual: float(T, H), gate: float(I, H), up: float(I, H), down: float(H, I) },
      ...{ ...has('gate', I), ...has('up', I), ...has('down', H), ...(sparse && { indices: int32(kept) }) },
    },
    run: (t) => {
      const weight = (name: string) => ({ weight: matrix(t[name]), bias: vectorOrNull(t[`${name}Bias`]) });
      const weights = { gate: weight('gate'), up: weight('up'), down: weight('down') };
      return [gatedMlp(matrix(t.x), matrix(t.residual), weights, sparse ? selection(t.indices, I) : null, D)];
    },
    expected: (v) => [gatedMlpReference(v.x!, v.residual!, T, reference(v), sparse ? D : T)],
    gradients: (v, [dy]) => ({
      x: gatedMlpGradReference(v.x!, dy!, T, reference(v), sparse ? D : T),
      residual: dy!,
    }),
  };
}

const MLP_PARTS = ['gate', 'up', 'down'] as const;

/** @param ranks of gate, up and down. */
function loraMlpCase(
  name: string,
  [T, D, H, I]: readonly [number, number, number, number],
  ranks: readonly [number, number, number],
  kept: readonly number[] | null,
): ConformanceCase {
  const layers = MLP_PARTS.map((part, n): LayerCase => {
    const [out, inputs] = part === 'down' ? [H, I] : [I, H];
    return { out, inputs, selects: null, rank: ranks[n]! };
  });
  const references = (v: Numbers) => {
    const plain = layers.map((layer, n) => ({ ...referenceOf(v, layer, n), keep: kept && new Set(kept) }));
    return Object.fromEntries(MLP_PARTS.map((part, n) => [part, plain[n]!])) as unknown as LoraMlpReference;
  };
  return {
    name: `loraMlp() ${name}`,
    kernels: ['SpftLoraMlp', 'SpftLoraMlpGrad'],
    inputs: Object.assign(
      { x: float(T, H), residual: float(T, H), ...(kept && { indices: int32(kept) }) },
      ...layers.map(inputsOf),
    ),
    run: (t) => {
      const [gate, up, down] = layers.map((layer, n) => layerOf(t, layer, n)) as [
        FrozenLayer,
        FrozenLayer,
        FrozenLayer,
      ];
      const keep = kept && selection(t.indices, I);
      return [loraMlp(matrix(t.x), matrix(t.residual), { gate, up, down }, keep, keep ? D : T)];
    },
    expected: (v) => [loraMlpReference(v.x!, v.residual!, T, references(v), kept ? D : T)],
    gradients: (v, [dy]) => {
      const { dx, ...of } = loraMlpGradReference(v.x!, dy!, T, references(v), kept ? D : T);
      return Object.assign({ x: dx, residual: dy! }, ...MLP_PARTS.map((part, n) => branchGradients(of[part], n)));
    },
  };
}

export const layerCases: readonly ConformanceCase[] = [
  rowsCase(
    'of three layers, sparse, LoRA on two, a bias on one',
    [9, 4, 7],
    [
      { out: 6, selects: 'outputs', rank: 2, bias: true },
      { out: 4, selects: 'outputs' },
      { out: 5, selects: null, rank: 3 },
    ],
  ),
  rowsCase(
    'of which every row is sparse',
    [5, 0, 6],
    [
      { out: 6, selects: 'outputs', rank: 2 },
      { out: 3, selects: 'outputs', bias: true },
    ],
  ),
  rowsCase('of which every row is dense', [5, 5, 6], [{ out: 6, selects: 'outputs', rank: 2, bias: true }]),
  rowsCase('without rows', [0, 0, 6], [{ out: 6, selects: 'outputs', rank: 2, bias: true }]),
  rowsCase('without selection or branch', [3, 3, 5], [{ out: 4, selects: null, bias: true }]),
  rowsCase(
    'with a constant input',
    [6, 2, 8],
    [
      { out: 8, selects: 'outputs', rank: 2 },
      { out: 8, selects: 'outputs', rank: 2 },
    ],
    { withInput: false },
  ),
  ...[false, true].map((turnedNext) =>
    rowsCase(
      `of widths that are multiples of 16${turnedNext ? ', two of which are to be turned next' : ''}`,
      [48, 16, 32],
      [
        { out: 64, selects: 'outputs', rank: 8 },
        { out: 32, selects: 'outputs', rank: 8 },
        { out: 32, selects: 'outputs', rank: 8 },
      ],
      { turnedNext },
    ),
  ),
  rowsCase(
    'with a magnitude',
    [7, 3, 6],
    [
      { out: 5, selects: 'outputs', rank: 2, magnitude: true },
      { out: 4, selects: 'outputs', rank: 2 },
    ],
  ),
  columnsCase('sparse, LoRA, a bias', [9, 4], { out: 6, inputs: 8, selects: 'inputs', rank: 2, bias: true }),
  columnsCase('of which every row is sparse', [5, 0], { out: 6, inputs: 7, selects: 'inputs' }),
  columnsCase('of which every row is dense', [5, 5], { out: 6, inputs: 7, selects: 'inputs', rank: 1 }),
  columnsCase('without rows', [0, 0], { out: 6, inputs: 7, selects: 'inputs', rank: 2, bias: true }),
  columnsCase('without selection or branch', [4, 4], { out: 3, inputs: 5, selects: null, bias: true }),
  columnsCase('of widths that are multiples of 16', [48, 16], { out: 32, inputs: 64, selects: 'inputs', rank: 8 }),
  columnsCase('with a magnitude', [7, 3], { out: 5, inputs: 6, selects: 'inputs', rank: 2, magnitude: true }),
  mlpCase([9, 4, 6, 10], []),
  mlpCase([9, 4, 6, 10], ['gate']),
  mlpCase([9, 4, 6, 10], ['up']),
  mlpCase([9, 4, 6, 10], ['down']),
  mlpCase([9, 4, 6, 10], ['gate', 'up', 'down']),
  mlpCase([5, 0, 7, 9], ['up']),
  mlpCase([5, 5, 7, 9], ['gate']),
  mlpCase([0, 0, 4, 6], ['gate', 'up', 'down']),
  mlpCase([3, 3, 5, 7], ['gate'], false),
  mlpCase([48, 16, 32, 64], []),
  loraMlpCase('with branches on all three', [9, 4, 6, 10], [2, 3, 1], someOf(10)),
  loraMlpCase('with a branch on down alone, every row sparse', [5, 0, 7, 9], [0, 0, 2], someOf(9)),
  loraMlpCase('of which every row is dense', [5, 5, 7, 9], [2, 2, 2], someOf(9)),
  loraMlpCase('without selection', [4, 4, 5, 7], [2, 0, 1], null),
  loraMlpCase('without rows', [0, 0, 4, 6], [2, 2, 2], someOf(6)),
  loraMlpCase('of widths that are multiples of 8', [75, 16, 40, 136], [8, 16, 8], someOf(136).slice(0, 40)),
  loraMlpCase('of widths that are multiples of 8, without selection', [70, 70, 40, 72], [8, 8, 16], null),
];
