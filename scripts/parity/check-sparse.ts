/**
 * @file SparseLoRA: predictors, the channels kept, and logits, loss and gradients with them.
 *
 * The choice of channels is compared apart from what is computed with it: our estimator is asked with the golden predictors, and the model
 * goes on with the golden channels. So a wrong choice of ours is one failure, and says which.
 */
import {
  type AttentionContext,
  type AttentionSelection,
  buildPredictors,
  createEstimator,
  type LowRank,
  type MlpContext,
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
import { BF16_TOLERANCE, type Checks, type Precision } from './checks.js';
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
 * Relative noise, evenly spread up to this, under which a choice that lies within rounding may turn: two units in float32's last place; in bf16 as
 * much in norm as activations may be off, a channel of all tokens alike, as rounded weights move it.
 */
const ROUNDING = { float32: 2 ** -22, bf16: Math.sqrt(3) * BF16_TOLERANCE.output } as const;
const TRIALS = { float32: 16, bf16: 48 } as const;

/** The context with every activation moved by rounding, differently each time. */
function shaken<C extends object>(context: C, precision: Precision['name']): C {
  const noise = ROUNDING[precision];
  const shapeOf = ({ shape }: tf.Tensor) =>
    precision === 'bf16' ? [...shape.slice(0, -1).fill(1), shape.at(-1)!] : shape;
  const shake = (x: tf.Tensor) => tf.mul(x, tf.randomUniform(shapeOf(x), 1 - noise, 1 + noise));
  return Object.fromEntries(
    Object.entries(context).map(([key, value]) => [key, value instanceof tf.Tensor ? shake(value) : value]),
  ) as C;
}

type Select<C> = (context: C) => Readonly<Record<string, ChannelSelection | null>>;

/**
 * Compares our choice with the golden one, by the names that the golden file has for it, and hands out the golden one. A choice that
 * differs counts as the same if it turns into the golden one by rounding: two channels of equal score. In bf16, where many channels may lie that
 * close, if rounding turns the choice about each channel that differs.
 */
export function chooseAsGolden<C extends object>(
  context: C,
  select: Select<C>,
  nameOf: (part: string) => string,
  file: Pick<GoldenFile, 'names' | 'get'>,
  compare: (name: string, actual: ArrayLike<number>, golden: Int32Array) => void,
  precision: Precision['name'] = 'float32',
): Record<string, ChannelSelection | null> {
  const ours = select(context);
  const chosen: Record<string, ChannelSelection | null> = {};
  for (const [part, selection] of Object.entries(ours)) {
    const name = nameOf(part);
    chosen[part] = selection;
    if (!file.names.includes(name)) continue;
    const golden = Int32Array.from(file.get(name).data).sort();
    const own = selection?.indices.dataSync() ?? [];
    const trial = () => tf.tidy(() => select(shaken(context, precision))[part]?.indices.dataSync() ?? new Int32Array());
    const trials = () => Array.from({ length: TRIALS[precision] }, trial);
    const same = (indices: ArrayLike<number>) => selection !== null && String(indices) === String(golden);
    const tied = () =>
      precision === 'float32'
        ? trials().some(same)
        : own.length === golden.length && areUndecided(differing(own, golden), own, trials());
    compare(name, !same(own) && tied() ? golden : own, golden);
    if (selection !== null) {
      chosen[part] = { indices: tf.tensor1d(golden, 'int32'), kept: golden.length, total: selection.total };
    }
  }
  return chosen;
}

/** Channels that one of two choices has and the other has not. */
function differing(a: ArrayLike<number>, b: ArrayLike<number>): number[] {
  const [inA, inB] = [new Set(Array.from(a)), new Set(Array.from(b))];
  return [...inA].filter((c) => !inB.has(c)).concat([...inB].filter((c) => !inA.has(c)));
}

/** Whether each of `channels` is chosen otherwise in some of the trials. */
function areUndecided(
  channels: readonly number[],
  own: ArrayLike<number>,
  trials: readonly ArrayLike<number>[],
): boolean {
  const turned = new Set(trials.flatMap((trial) => differing(own, trial)));
  return channels.every((channel) => turned.has(channel));
}

/** An estimator that asks ours and goes on with the golden choice. `checks` is told, or nobody. */
function goldenEstimator(
  label: string,
  ours: SparsityEstimator,
  file: GoldenFile,
  checks: Checks | null,
  precision: Precision['name'],
): SparsityEstimator {
  const compare = (name: string, actual: ArrayLike<number>, golden: Int32Array) =>
    checks?.same(`${label} ${name}`, actual, golden);
  return {
    mode: ours.mode,
    needs: ours.needs,
    applies: ours.applies,
    selectMlp(context) {
      const select: Select<MlpContext> = (c) => ({ kept: ours.selectMlp(c) });
      const nameOf = () => `layers.${context.layer}.mlp.kept`;
      return chooseAsGolden(context, select, nameOf, file, compare, precision).kept!;
    },
    selectAttention(context) {
      const select: Select<AttentionContext> = (c) => ({ ...ours.selectAttention(c) });
      const nameOf = (part: string) => `layers.${context.layer}.self_attn.kept_${part}`;
      return chooseAsGolden(context, select, nameOf, file, compare, precision) as unknown as AttentionSelection;
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
    // As the original, whatever the semantics.
    scoreContextTokens: false,
    modules: { mlp: true, selfAttn: true },
    predictors: async (rank) => {
      await checkPredictors(label, golden, rank, model, checks);
      return new Predictors(rank, golden, null);
    },
  });
  const plan = { estimator, layers: LAYERS, compat: semantics, enabled: true, listener: null };

  model.setSparsity({ ...plan, estimator: goldenEstimator(label, estimator, file, checks, checks.precision.name) });
  const logits = noGradient(() => hostLogits(model, batch.packed));
  checks.close(`${label} logits`, logits, realRows(batch, file.get('logits').data), 'output');
  model.setSparsity({ ...plan, estimator: goldenEstimator(label, estimator, file, null, checks.precision.name) });
  checks.close(`${label} loss`, meanLoss(model, batch.packed), file.get('loss').data, 'output');
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
