/**
 * @file SparseLoRA: predictors, the channels kept, and logits, loss and gradients with them.
 *
 * The choice of channels is compared apart from what is computed with it: our estimator is asked with the golden predictors, and the model
 * goes on with the golden channels. So one wrong channel is one failure, and says which.
 */
import {
  type AttentionSelection,
  buildPredictors,
  createEstimator,
  type LowRank,
  Predictors,
  type SparsityEstimator,
  type SparsityPlan,
} from '@spft/estimator';
import type { LlamaForCausalLM } from '@spft/models';
import { loadPretrained } from '@spft/peft/node';
import { type ChannelSelection, noGradient } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { readBatch, realRows } from './batch.js';
import { checkGradients, gradients } from './check-adapter.js';
import { hostLogits, meanLoss } from './check-dense.js';
import { type Checks, TOLERANCE } from './checks.js';
import { GoldenError, GoldenFile, type GoldenModel, type SparseFile } from './golden.js';

/** The sparsity of every golden file (golden/README.md). */
const LAYERS: SparsityPlan['layers'] = new Map([
  [1, { mlp: 0.5, selfAttn: 0.5 }],
  [2, { mlp: 0.75, selfAttn: 0.25 }],
  [3, { mlp: 0.9, selfAttn: 0 }],
]);

/** A·B of our predictors may be so far from the golden ones', in relative Frobenius norm. */
const PREDICTOR_TOLERANCE = 1e-3;

/** Golden predictors by the name of their projection; none where the mode has none. */
function readPredictors(file: GoldenFile): Map<string, LowRank> {
  const found = new Map<string, LowRank>();
  for (const name of file.under('predictor.').filter((n) => n.endsWith('_low_rank_a'))) {
    const [a, b] = ['a', 'b'].map((factor) => {
      const { data, shape } = file.get(`predictor.${name.replace(/a$/, factor)}`);
      return tf.tensor(data as Float32Array, [...shape]);
    }) as [tf.Tensor, tf.Tensor];
    const mlp = /^layers\.(\d+)\.mlp_low_rank_a$/.exec(name);
    const attention = /^layers\.(\d+)\.self_attn_([qkv])_low_rank_a$/.exec(name);
    if (attention) {
      const projection = `model.layers.${attention[1]}.self_attn.${attention[2]}_proj`;
      found.set(projection, { a: a as tf.Tensor2D, b: b as tf.Tensor2D });
    } else if (mlp) {
      // Gate and up are stacked on axis 0.
      const [as, bs] = [tf.unstack(a), tf.unstack(b)] as [tf.Tensor2D[], tf.Tensor2D[]];
      ['gate', 'up'].forEach((part, n) => {
        found.set(`model.layers.${mlp[1]}.mlp.${part}_proj`, { a: as[n]!, b: bs[n]! });
      });
      tf.dispose([a, b]);
    } else {
      throw new GoldenError(`${file.path}: predictor.${name} names no projection`);
    }
  }
  return found;
}

const product = ({ a, b }: LowRank) => tf.tidy(() => tf.matMul(a, b).dataSync());

/** Predictors that we build from the weights, exactly on the host and by the randomised method, against the golden ones. */
async function checkPredictors(
  label: string,
  golden: ReadonlyMap<string, LowRank>,
  rank: number,
  model: LlamaForCausalLM,
  checks: Checks,
): Promise<void> {
  for (const [method, exactUpTo] of [
    ['exact', Infinity],
    ['randomised', 0],
  ] as const) {
    const built = await buildPredictors(model, LAYERS, rank, { exactUpTo });
    const missing = [...golden.keys()].filter((name) => !built.projections.has(name));
    const odd = golden.size === built.projections.size ? missing[0] : `${built.projections.size} were built`;
    checks.holds(`${label} ${method} predictors are those wanted`, odd ?? null);
    for (const [name, factors] of golden) {
      const ours = built.projections.get(name);
      if (ours === undefined) continue;
      checks.closeInNorm(`${label} ${method} predictor ${name}`, product(ours), product(factors), PREDICTOR_TOLERANCE);
    }
    built.dispose();
  }
}

/**
 * An estimator that asks ours, checks its choice and hands out the golden one. Where the golden file does not tell of o, ours is used.
 */
function checkedEstimator(label: string, ours: SparsityEstimator, file: GoldenFile, checks: Checks): SparsityEstimator {
  const compare = (name: string, selection: ChannelSelection | null): ChannelSelection | null => {
    if (!file.names.includes(name)) return selection;
    const golden = Int32Array.from(file.get(name).data).sort();
    checks.same(`${label} ${name}`, selection?.indices.dataSync() ?? [], golden);
    if (selection === null) return null;
    return { indices: tf.tensor1d(golden, 'int32'), kept: golden.length, total: selection.total };
  };
  return {
    mode: ours.mode,
    needs: ours.needs,
    applies: ours.applies,
    selectMlp: (context) => compare(`layers.${context.layer}.mlp.kept`, ours.selectMlp(context)),
    selectAttention: (context): AttentionSelection => {
      const { q, k, v, o } = ours.selectAttention(context);
      const of = (part: 'q' | 'k' | 'v' | 'o', selection: ChannelSelection | null) =>
        compare(`layers.${context.layer}.self_attn.kept_${part}`, selection);
      return { q: of('q', q), k: of('k', k), v: of('v', v), o: of('o', o) };
    },
    dispose: () => ours.dispose(),
  };
}

async function checkFile(
  model: LlamaForCausalLM,
  { path, mode, semantics, split }: SparseFile,
  label: string,
  checks: Checks,
): Promise<GoldenFile> {
  const file = await GoldenFile.open(path);
  const batch = readBatch(file, split ? 'split' : 'all');
  const golden = readPredictors(file);
  const estimator = await createEstimator({
    mode,
    heads: model.headLayout,
    compat: semantics,
    channelMultiple: 1,
    qkPerHead: false,
    qkvoSeqAvg: false,
    mlpSeqAvg: true,
    modules: { mlp: true, selfAttn: true },
    predictors: async (rank) => {
      await checkPredictors(label, golden, rank, model, checks);
      return new Predictors(rank, golden, null);
    },
  });
  const plan = { estimator, layers: LAYERS, compat: semantics, enabled: true, listener: null };

  // Once with every choice checked, then with our own estimator as a user has it.
  model.setSparsity({ ...plan, estimator: checkedEstimator(label, estimator, file, checks) });
  const logits = noGradient(() => hostLogits(model, batch.packed));
  checks.close(`${label} logits`, logits, realRows(batch, file.get('logits').data), TOLERANCE.output);
  model.setSparsity(plan);
  checks.close(`${label} loss`, meanLoss(model, batch.packed), file.get('loss').data, TOLERANCE.output);
  checkGradients(label, file, gradients(model, batch.packed), checks);
  model.setSparsity(null);
  estimator.dispose();
  return file;
}

/** Every file of `sparse/`. Leaves the model as it was. */
export async function checkSparse(golden: GoldenModel, model: LlamaForCausalLM, checks: Checks): Promise<GoldenFile[]> {
  if (golden.sparse === null) return [];
  const peft = await loadPretrained(model, golden.sparse.adapter);
  const files: GoldenFile[] = [];
  for (const file of golden.sparse.files) {
    files.push(await checkFile(model, file, `${golden.name} ${file.name}`, checks));
  }
  peft.dispose();
  return files;
}
