/** @file Llama-3-8B's shape with random weights that are made on the GPU, and batches of random tokens for it. */
import { type CudaBackend, randomTensor } from '@spft/backend-cuda';
import {
  countLabelledTokens,
  IGNORE_INDEX,
  type LlamaConfig,
  LlamaForCausalLM,
  type LoadOptions,
  llamaTensors,
  type PackedBatch,
  type WeightSource,
} from '@spft/models';
import { packTokens, type StoredFormName, storeAs } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { integers } from '../support/random.js';
import type { Row } from './rows.js';

export const LLAMA3_8B: LlamaConfig = {
  ...{ vocabSize: 128256, hiddenSize: 4096, intermediateSize: 14336, numHiddenLayers: 32 },
  ...{
    numAttentionHeads: 32,
    numKeyValueHeads: 8,
    headDim: 128,
    rmsNormEps: 1e-5,
    ropeTheta: 500_000,
    ropeScaling: null,
  },
  ...{ maxPositionEmbeddings: 8192, tieWordEmbeddings: false, attentionBias: false, mlpBias: false },
  ...{ initializerRange: 0.02, bosTokenId: null, eosTokenIds: [], padTokenId: null },
};

export const SMOLLM2_135M: LlamaConfig = {
  ...LLAMA3_8B,
  ...{ vocabSize: 49152, hiddenSize: 576, intermediateSize: 1536, numHiddenLayers: 30 },
  ...{ numAttentionHeads: 9, numKeyValueHeads: 3, headDim: 64, ropeTheta: 100_000, tieWordEmbeddings: true },
};

/**
 * Weights of transformers' initialisation: normal with the config's deviation, norms 1.
 * @param physical of matrices. @param options how they are stored.
 * @param through a form by which the linear layers' numbers are rounded, for the same ones in float.
 */
export function randomLlama(
  config: LlamaConfig,
  physical: 'bf16' | 'f32' = 'bf16',
  options: LoadOptions = {},
  through: StoredFormName | null = null,
): Promise<LlamaForCausalLM> {
  const shapes = llamaTensors(config);
  const names = [...shapes.keys()];
  const source: WeightSource = {
    names,
    entry: (name) => ({ shape: shapes.get(name)!, dtype: 'BF16' }),
    float32: async () => {
      throw new Error('internal: every tensor is made on the device');
    },
    async tensor(name) {
      const shape = [...shapes.get(name)!];
      if (shape.length === 1) return tf.ones(shape);
      const seed = names.indexOf(name);
      const made = randomTensor(shape, {
        seed,
        distribution: 'normal',
        deviation: config.initializerRange,
        physical: 'bf16',
      });
      if (physical === 'bf16') return made;
      // The same values, held in float.
      const backend = tf.backend() as CudaBackend;
      const rounded =
        through !== null && name.includes('_proj')
          ? storeAs(made as tf.Tensor2D, through, { doubleQuantisation: true, dtype: 'BF16' })
          : tf.clone(made);
      const wide = tf.engine().makeTensorFromTensorInfo(backend.as(rounded, 'f32'));
      tf.dispose([made, rounded]);
      return wide;
    },
  };
  return LlamaForCausalLM.fromWeights(config, source, options);
}

export interface RowBatch extends PackedBatch {
  readonly labelledTokens: number;
}

export function rowBatch(vocabulary: number, row: Pick<Row, 'batch' | 'length' | 'labelled' | 'sparsity'>): RowBatch {
  const { batch, length, labelled, sparsity } = row;
  const inputIds = integers(batch * length, vocabulary, 1);
  const labels = inputIds.map((id, t) => (t % length < length - labelled ? IGNORE_INDEX : id));
  const layout = packTokens({
    lengths: Array.from({ length: batch }, () => length),
    dense: (token) => sparsity === null || labels[token] !== IGNORE_INDEX,
  });
  const packed = { inputIds, labels, layout };
  return { ...packed, labelledTokens: countLabelledTokens(packed) };
}
