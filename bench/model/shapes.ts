/**
 * @file The models that are measured: real shapes, random weights. What a step costs depends on the shapes and on how many channels are
 * kept, hardly on the values.
 */
import type { LlamaConfig } from '@spft/models';

export interface BenchShape {
  readonly name: string;
  readonly config: LlamaConfig;
  /** Fraction dropped, by layer, of the SparseLoRA that is measured. */
  readonly sparsity: ReadonlyMap<number, { readonly mlp: number; readonly selfAttn: number }>;
  readonly predictorRank: number;
  /** Sequences of a batch, and tokens of each, unless asked otherwise. */
  readonly batch: number;
  readonly length: number;
}

const COMMON = {
  rmsNormEps: 1e-5,
  ropeTheta: 10_000,
  ropeScaling: null,
  maxPositionEmbeddings: 2048,
  tieWordEmbeddings: true,
  attentionBias: false,
  mlpBias: false,
  initializerRange: 0.02,
  bosTokenId: null,
  eosTokenIds: [],
  padTokenId: null,
} as const;

const layers = (first: number, count: number, mlp: number, selfAttn: number) =>
  new Map(Array.from({ length: count }, (_, n) => [first + n, { mlp, selfAttn }]));

const SHAPES: readonly BenchShape[] = [
  {
    name: 'base', // examples/quickstart/base
    config: {
      ...COMMON,
      ...{ vocabSize: 1024, hiddenSize: 192, intermediateSize: 1024, numHiddenLayers: 4 },
      ...{ numAttentionHeads: 6, numKeyValueHeads: 2, headDim: 32 },
    },
    sparsity: layers(1, 3, 0.9, 0),
    predictorRank: 8,
    batch: 8,
    length: 80,
  },
  {
    name: 'smollm2-135m',
    config: {
      ...COMMON,
      ...{ vocabSize: 49152, hiddenSize: 576, intermediateSize: 1536, numHiddenLayers: 30, ropeTheta: 100_000 },
      ...{ numAttentionHeads: 9, numKeyValueHeads: 3, headDim: 64 },
    },
    // As many layers as the paper's commonsense preset has, in the second half.
    sparsity: layers(15, 14, 0.9, 0.5),
    predictorRank: 8,
    batch: 2,
    length: 128,
  },
  {
    name: 'tiny', // tries the bench itself
    config: {
      ...COMMON,
      ...{ vocabSize: 64, hiddenSize: 32, intermediateSize: 64, numHiddenLayers: 2 },
      ...{ numAttentionHeads: 4, numKeyValueHeads: 2, headDim: 8 },
    },
    // Not the last layer, which is cheap anyway: what follows its attention is of labelled rows alone.
    sparsity: layers(0, 1, 0.5, 0.5),
    predictorRank: 4,
    batch: 2,
    length: 12,
  },
];

/** @throws RangeError when there is no such shape. */
export function shapeNamed(name: string): BenchShape {
  const shape = SHAPES.find((s) => s.name === name);
  if (shape) return shape;
  throw new RangeError(`there is no shape '${name}'; there are ${SHAPES.map((s) => s.name).join(', ')}`);
}

/** The same widths in fewer words and layers, the last of them sparse: what is verified before a large shape is timed. */
export function reduced(shape: BenchShape, maxLayers: number, maxVocabulary: number): BenchShape {
  const { config, sparsity } = shape;
  const numHiddenLayers = Math.min(maxLayers, config.numHiddenLayers);
  return {
    ...shape,
    config: { ...config, numHiddenLayers, vocabSize: Math.min(maxVocabulary, config.vocabSize) },
    sparsity: new Map([[numHiddenLayers - 1, [...sparsity.values()].at(-1)!]]),
  };
}
