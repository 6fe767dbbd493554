/** @file LoRA and DoRA: logits, loss, every gradient, three AdamW steps, merging, and the adapter file written and read again. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { countLabelledTokens, type LlamaForCausalLM, type PackedBatch } from '@spft/models';
import { loadPretrained, savePretrained } from '@spft/peft/node';
import { adamwUpdate, clipScale, globalNorm, zeroMoments } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { type GoldenBatch, realRows } from './batch.js';
import { hostLogits, meanLoss } from './check-dense.js';
import { BF16_TOLERANCE, type Checks, TOLERANCE } from './checks.js';
import { GoldenFile } from './golden.js';

const ADAPTER_FILE = 'adapter_model.safetensors';

export interface Gradients {
  readonly loss: tf.Scalar;
  /** By the variables' PEFT names. */
  readonly named: ReadonlyMap<string, tf.Tensor>;
}

/** Loss and gradients, owned by the caller. */
export function gradients(model: LlamaForCausalLM, packed: PackedBatch): Gradients {
  const variables = [...model.variables];
  const normalizer = countLabelledTokens(packed);
  const { value, grads } = tf.variableGrads(
    () => model.loss(packed, { training: true, seed: 0, normalizer }),
    variables.map(([, variable]) => variable),
  );
  return { loss: value, named: new Map(variables.map(([name, { name: id }]) => [name, grads[id]!])) };
}

/** Every `grad.<name>` of the file, and that there is one for each variable. */
export function checkGradients(label: string, file: GoldenFile, { loss, named }: Gradients, checks: Checks): void {
  const golden = file.under('grad.');
  checks.holds(`${label} gradients are those of all variables`, sameNames([...named.keys()], golden));
  const [all, allGolden]: [number[], number[]] = [[], []];
  for (const name of golden) {
    const expected = file.get(`grad.${name}`).data;
    const ours = named.get(name)?.dataSync() ?? [];
    checks.close(`${label} grad ${name}`, ours, expected, 'gradient');
    for (let i = 0; i < expected.length; i++) {
      all.push(ours[i]!);
      allGolden.push(expected[i]!);
    }
  }
  // In float32 each of them is held to as much.
  if (checks.precision.name === 'bf16') {
    checks.closeInNorm(`${label} gradients together`, all, allGolden, 0, 'allGradients');
  }
  tf.dispose([loss, ...named.values()]);
}

function sameNames(ours: readonly string[], theirs: readonly string[]): string | null {
  const [a, b] = [new Set(ours), new Set(theirs)];
  const odd = [...ours.filter((name) => !b.has(name)), ...theirs.filter((name) => !a.has(name))];
  return odd.length === 0 && ours.length > 0 ? null : `${odd.length} are on one side only, first ${odd[0] ?? 'none'}`;
}

const ADAMW = { learningRate: 0.01, weightDecay: 0.01 };

/** Three AdamW steps, clipped to global norm 1. */
function checkAdamw(
  label: string,
  file: GoldenFile,
  model: LlamaForCausalLM,
  packed: PackedBatch,
  checks: Checks,
): void {
  const variables = [...model.variables.values()];
  const before = new Map([...model.variables].map(([name, v]) => [name, v.dataSync().slice() as Float32Array]));
  const state = { firstMoments: zeroMoments(variables), secondMoments: zeroMoments(variables) };
  const [losses, norms]: [number[], number[]] = [[], []];
  for (let step = 1; step <= file.get('adamw.losses').data.length; step++) {
    const { loss, named } = gradients(model, packed);
    const ordered = [...named.values()];
    const norm = globalNorm(ordered);
    const gradientScale = clipScale(norm, 1);
    adamwUpdate(variables, ordered, state, { ...ADAMW, step, gradientScale });
    losses.push(loss.dataSync()[0]!);
    norms.push(norm.dataSync()[0]!);
    tf.dispose([loss, norm, gradientScale, ...ordered]);
  }
  checks.close(`${label} adamw losses`, losses, file.get('adamw.losses').data, 'output');
  checks.close(`${label} adamw grad norms`, norms, file.get('adamw.grad_norms').data, 'gradient');
  for (const name of file.under('adamw.param.')) {
    const ours = model.variables.get(name)?.dataSync() ?? [];
    const golden = { after: file.get(`adamw.param.${name}`).data, gradient: file.get(`grad.${name}`).data };
    checkChange(`${label} adamw param ${name}`, before.get(name) ?? [], ours, golden, losses.length, checks);
  }
  tf.dispose([...state.firstMoments, ...state.secondMoments]);
}

/**
 * The change of a parameter, not its value, which would hide an error of the optimizer below the initial numbers. AdamW divides a gradient
 * by its own size, so where the gradient is all but zero rounding alone decides on the step: there only the step's length is checked.
 */
function checkChange(
  name: string,
  before: ArrayLike<number>,
  ours: ArrayLike<number>,
  golden: { readonly after: ArrayLike<number>; readonly gradient: ArrayLike<number> },
  steps: number,
  checks: Checks,
): void {
  const largest = Array.from(golden.gradient).reduce((most, g) => Math.max(most, Math.abs(g)), 0);
  const places = Array.from(golden.gradient, (_, i) => i);
  const tolerance = checks.precision.name === 'bf16' ? BF16_TOLERANCE.output : TOLERANCE.gradient.relative;
  const decided = places.filter((i) => Math.abs(golden.gradient[i]!) > 10 * tolerance * largest);
  const change = (values: ArrayLike<number>) => decided.map((i) => values[i]! - before[i]!);
  checks.closeInNorm(name, change(ours), change(golden.after), TOLERANCE.gradient.relative, 'change');
  const longest = 2 * steps * ADAMW.learningRate;
  const wrong = places.find((i) => !(Math.abs(ours[i]! - golden.after[i]!) <= longest));
  if (wrong !== undefined) checks.holds(name, `element ${wrong} is ${ours[wrong]}, wanted ${golden.after[wrong]}`);
}

/** What PEFT wrote, read by us and written again, holds the same names, shapes and bits. */
async function checkRoundTrip(
  label: string,
  adapter: string,
  write: (dir: string) => Promise<unknown>,
  checks: Checks,
): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'spft-parity-'));
  try {
    await write(dir);
    const theirs = await GoldenFile.open(join(adapter, ADAPTER_FILE));
    const ours = await GoldenFile.open(join(dir, ADAPTER_FILE));
    checks.holds(`${label} adapter file has the same tensors`, sameNames(ours.names, theirs.names));
    for (const name of theirs.names.filter((n) => ours.names.includes(n))) {
      const [a, b] = [ours.get(name), theirs.get(name)];
      checks.same(`${label} adapter ${name} shape`, a.shape, b.shape);
      checks.same(`${label} adapter ${name}`, a.data, b.data);
    }
  } finally {
    await rm(dir, { recursive: true });
  }
}

/** Leaves the model as it was. */
export async function checkAdapter(
  label: string,
  dir: string,
  model: LlamaForCausalLM,
  batch: GoldenBatch,
  checks: Checks,
): Promise<GoldenFile[]> {
  const file = await GoldenFile.open(join(dir, 'golden.safetensors'));
  const merged = await GoldenFile.open(join(dir, 'merged.safetensors'));
  const { packed } = batch;
  const peft = await loadPretrained(model, join(dir, 'adapter'));

  const logits = realRows(batch, file.get('logits').data);
  checks.close(`${label} logits`, hostLogits(model, packed), logits, 'output');
  checks.close(`${label} loss`, meanLoss(model, packed), file.get('loss').data, 'output');
  checkGradients(label, file, gradients(model, packed), checks);
  await checkRoundTrip(label, join(dir, 'adapter'), (to) => savePretrained(peft, to), checks);
  checkAdamw(label, file, model, packed, checks);
  // The merged logits are those of the trained adapter: the golden one, so that merging answers for itself alone.
  for (const [name, variable] of model.variables) {
    const { data, shape } = file.get(`adamw.param.${name}`);
    tf.tidy(() => variable.assign(tf.tensor(data, [...shape])));
  }
  peft.merge();
  const mergedLogits = realRows(batch, merged.get('merged_logits').data);
  checks.close(`${label} merged logits`, hostLogits(model, packed), mergedLogits, 'output');
  peft.unmerge();
  peft.dispose();
  return [file, merged];
}
