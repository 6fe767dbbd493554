/** @file The model as it comes: logits, loss, greedy decoding. */
import { countLabelledTokens, generate, type LlamaForCausalLM, type PackedBatch } from '@spft/models';
import { packTokens } from '@spft/sparse-ops';
import { type GoldenBatch, readBatch, realRows, rowsBefore } from './batch.js';
import type { Checks } from './checks.js';
import { GoldenError, GoldenFile, type GoldenModel } from './golden.js';

/** Tokens that the golden files decode after the prompt. */
const NEW_TOKENS = 8;

/** A mean over the labelled tokens, as transformers computes it. */
export function meanLoss(model: LlamaForCausalLM, packed: PackedBatch): Float32Array {
  const loss = model.loss(packed, { training: true, seed: 0, normalizer: countLabelledTokens(packed) });
  const value = loss.dataSync() as Float32Array;
  loss.dispose();
  return value;
}

/** [T, V] on the host. */
export function hostLogits(model: LlamaForCausalLM, packed: PackedBatch): Float32Array {
  const logits = model.logits(packed, { training: true, seed: 0 });
  const values = logits.dataSync() as Float32Array;
  logits.dispose();
  return values;
}

export async function checkDense(
  golden: GoldenModel,
  model: LlamaForCausalLM,
  checks: Checks,
): Promise<readonly [GoldenFile, GoldenBatch]> {
  const file = await GoldenFile.open(golden.dense);
  const batch = readBatch(file, 'none');
  const label = `${golden.name} dense`;
  const expected = realRows(batch, file.get('logits').data);
  checks.close(`${label} logits`, hostLogits(model, batch.packed), expected, 'output');
  checks.close(`${label} loss`, meanLoss(model, batch.packed), file.get('loss').data, 'output');

  const greedy = file.get('greedy');
  const [rows, width] = greedy.shape as [number, number];
  const prompt = width - NEW_TOKENS;
  if (rows !== batch.rows || prompt < 1)
    throw new GoldenError(`${file.path}: greedy [${greedy.shape}] is no continuation`);
  const generated = await generate(model, rowsBefore(batch, prompt), { maxNewTokens: NEW_TOKENS });
  const pad = model.config.padTokenId ?? model.config.eosTokenIds[0] ?? 0;
  const ours = generated.flatMap((tokens) => [...tokens, ...new Array(NEW_TOKENS - tokens.length).fill(pad)]);
  const theirs = Array.from({ length: rows }, (_, row) => [
    ...greedy.data.slice(row * width + prompt, (row + 1) * width),
  ]);
  const expectedTokens = theirs.flat();
  const close = () => rowsBefore(batch, prompt).every((row, n) => areGreedy(model, row, theirs[n]!, checks.rounding));
  const tied = checks.precision.name === 'bf16' && String(ours) !== String(expectedTokens) && close();
  checks.same(`${label} greedy`, tied ? expectedTokens : ours, expectedTokens);
  return [file, batch];
}

/** Whether each of `tokens` after `prompt` is the likeliest but for the rounding: what follows one of two equals may be anything. */
function areGreedy(
  model: LlamaForCausalLM,
  prompt: readonly number[],
  tokens: readonly number[],
  rounding: number,
): boolean {
  const end = tokens.findIndex((token) => model.config.eosTokenIds.includes(token));
  const wanted = end < 0 ? tokens : tokens.slice(0, end + 1);
  const ids = Int32Array.from([...prompt, ...wanted]);
  const layout = packTokens({ lengths: [ids.length], dense: () => true });
  const logits = hostLogits(model, { inputIds: ids, labels: ids, layout });
  const V = logits.length / ids.length;
  return wanted.every((token, n) => {
    const row = logits.subarray((prompt.length + n - 1) * V, (prompt.length + n) * V);
    const [most, scale] = row.reduce(([a, b], z) => [Math.max(a, z), Math.max(b, Math.abs(z))], [-Infinity, 0]);
    return row[token]! >= most! - rounding * scale!;
  });
}
