/**
 * @file What must hold before a time is worth taking: that what is fast computes the same. On the widths that are measured, in fewer layers
 * and words; the backend against cpu on small ones.
 */
import { buildPredictors, type SparsityEstimator, type SparsityPlan, svdEstimator } from '@spft/estimator';
import * as tf from '@tensorflow/tfjs';
import { expectAllClose, TOLERANCE } from '../../test/support/allclose.js';
import { uniform } from '../support/random.js';
import { createMethod, METHODS, type Method, type MethodName } from './methods.js';
import { type BatchOptions, randomBatch, randomModel } from './random-model.js';
import { type BenchShape, reduced, shapeNamed } from './shapes.js';

type Result = ReturnType<Method['gradients']>;

/** @throws Error naming the first value that differs by more than the project's tolerance, and by how much. */
export function expectAgreement(name: string, actual: Result, expected: Result): void {
  expectAllClose(`${name}: loss`, [actual.loss], [expected.loss]);
  for (const [variable, gradient] of expected.gradients) {
    expectAllClose(
      `${name}: gradient of ${variable}`,
      actual.gradients.get(variable) ?? [],
      gradient,
      TOLERANCE.gradient,
    );
  }
  const largest = [...expected.gradients.values()].flatMap((g) => [g.reduce((m, x) => Math.max(m, Math.abs(x)), 0)]);
  if (largest.some((size) => !(size > 0)))
    throw new Error(`${name}: a gradient is zero everywhere: nothing was compared`);
}

/** Adapters as they are after some training: fresh ones, with B = 0, would hide half of the gradients. */
function train(method: Method): void {
  let seed = 0;
  for (const [name, variable] of method.variables) {
    if (!name.endsWith('lora_B.weight')) continue;
    tf.tidy(() => variable.assign(tf.tensor(uniform(variable.size, 1000 + ++seed, 0.05), variable.shape)));
  }
}

/** Sparsity 0 is dense exactly, and every channel selected is dense to rounding. */
async function verifyNothingDropped(shape: BenchShape, options: BatchOptions): Promise<void> {
  const model = await randomModel(shape);
  const method = await createMethod('sparselora', model, { ...shape, sparsity: new Map() });
  train(method);
  const batch = randomBatch(shape.config.vocabSize, options, true);
  method.usePlan(null);
  const dense = method.gradients(batch);

  const plan = (sparsity: number): SparsityPlan => ({
    estimator: EVERY_CHANNEL,
    layers: new Map([...shape.sparsity.keys()].map((layer) => [layer, { mlp: sparsity, selfAttn: sparsity }])),
    compat: 'corrected',
    enabled: true,
    listener: null,
  });
  method.usePlan(plan(0));
  const zero = method.gradients(batch);
  const same = [...dense.gradients].every(([name, g]) => zero.gradients.get(name)!.every((x, i) => x === g[i]));
  if (zero.loss !== dense.loss || !same) throw new Error('sparsity 0 is not exactly dense LoRA');

  method.usePlan(plan(0.5));
  expectAgreement('every channel gathered is dense', method.gradients(batch), dense);
  method.dispose();
  model.dispose();
}

const all = (total: number) => ({ indices: tf.range(0, total, 1, 'int32'), kept: total, total });

/** Selects all channels, so that the sparse path computes what the dense one does. */
const EVERY_CHANNEL: SparsityEstimator = {
  mode: 'all',
  needs: 'input',
  applies: 'gather',
  selectMlp: ({ channels }) => all(channels),
  selectAttention({ heads: { heads, kvHeads, headDim } }) {
    const [q, kv] = [heads * headDim, kvHeads * headDim];
    return { q: all(q), k: all(kv), v: all(kv), o: all(q) };
  },
  dispose() {},
};

/** What a masked reference is to be made wrong by; for the test that this verification can fail. */
export type Tamper = (plan: SparsityPlan) => SparsityPlan;

/**
 * Channels gathered give what the same channels masked in a dense computation give. With adapters on o and down only, as masking zeroes the
 * adapters' share of dropped channels as well.
 */
async function verifyGatheredIsMasked(shape: BenchShape, options: BatchOptions, tamper: Tamper): Promise<void> {
  const model = await randomModel(shape);
  const predictors = await buildPredictors(model, shape.sparsity, shape.predictorRank);
  const method = await createMethod('sparselora', model, shape, { adapters: ['o_proj', 'down_proj'], predictors });
  train(method);
  const batch = randomBatch(shape.config.vocabSize, options, true);
  const gathered = method.gradients(batch);
  const mask = svdEstimator('masked', predictors, { applies: 'mask' });
  method.usePlan(
    tamper({ estimator: mask, layers: shape.sparsity, compat: 'corrected', enabled: true, listener: null }),
  );
  expectAgreement('gathered is masked', gathered, method.gradients(batch));
  method.usePlan(null);
  const dense = method.gradients(batch);
  if (Math.abs(dense.loss - gathered.loss) < 1e-6)
    throw new Error('the sparse step is the dense one: nothing was dropped');
  method.dispose();
  model.dispose();
}

/** Every method's loss and gradients on this backend are those of cpu. */
async function verifyAgainstCpu(backend: string, methods: readonly MethodName[]): Promise<void> {
  const shape = shapeNamed('tiny');
  const results: Map<string, Result>[] = [];
  // Else tfjs advises at length to install another backend.
  tf.env().set('IS_TEST', true);
  for (const name of ['cpu', backend]) {
    if (!(await tf.setBackend(name))) throw new Error(`verification: backend '${name}' did not start`);
    const model = await randomModel(shape);
    const found = new Map<string, Result>();
    for (const methodName of methods) {
      const method = await createMethod(methodName, model, shape);
      train(method);
      found.set(
        methodName,
        method.gradients(randomBatch(shape.config.vocabSize, { ...shape, context: 0.75 }, methodName === 'sparselora')),
      );
      method.dispose();
    }
    model.dispose();
    results.push(found);
  }
  for (const [name, expected] of results[0]!)
    expectAgreement(`${name} on ${backend} is as on cpu`, results[1]!.get(name)!, expected);
}

/**
 * Verifies the active backend at the widths of `shape`.
 * @returns what was verified, for the record. @throws Error when anything differs.
 */
export async function verify(
  shape: BenchShape,
  backend: string,
  {
    methods = METHODS,
    tamper = (plan) => plan,
  }: { readonly methods?: readonly MethodName[]; readonly tamper?: Tamper } = {},
): Promise<string[]> {
  const small = reduced(shape, 2, 512);
  const options: BatchOptions = { batch: 2, length: Math.min(24, shape.length), context: 0.75 };
  const verified: string[] = [];
  if (methods.includes('sparselora')) {
    await verifyNothingDropped(small, options);
    verified.push('sparsity 0 is dense LoRA exactly', 'every channel gathered is dense LoRA');
    await verifyGatheredIsMasked(small, options, tamper);
    verified.push('gathered is masked');
  }
  if (backend !== 'cpu') {
    await verifyAgainstCpu(backend, methods);
    verified.push(`${methods.join(', ')} on ${backend} as on cpu`);
  }
  return verified;
}
