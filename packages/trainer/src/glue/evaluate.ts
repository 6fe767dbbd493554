/**
 * @file Predictions of a classifier. Dense, what it says of a text does not depend on the others in its batch; sparse, as the original
 * evaluates, channels are chosen for each batch.
 */
import type { LlamaForSequenceClassification } from '@spft/models';
import { packTokens } from '@spft/sparse-ops';
import { IGNORED_LABEL, type Sample } from '../batch/samples.js';

export interface GlueEvaluation {
  /** Classes, or scores of a regression. */
  readonly predictions: number[];
  /** Mean loss of the labelled examples; NaN where none is. */
  readonly loss: number;
}

/**
 * @param labels class or score of each sample; null where there is none.
 * @param dense whether every token is computed with all channels, whatever plan is attached.
 */
export async function classify(
  model: LlamaForSequenceClassification,
  samples: readonly Sample[],
  labels: readonly (number | null)[],
  batchSize: number,
  dense = true,
): Promise<GlueEvaluation> {
  const predictions: number[] = [];
  let [loss, count] = [0, 0];
  for (let start = 0; start < samples.length; start += batchSize) {
    const batch = samples.slice(start, start + batchSize);
    const lengths = batch.map(({ inputIds }) => inputIds.length);
    const inputIds = Int32Array.from(batch.flatMap((sample) => [...(sample.inputIds as number[])]));
    const packed = {
      inputIds,
      labels: new Int32Array(inputIds.length).fill(IGNORED_LABEL),
      layout: packTokens({ lengths, dense: () => dense }),
    };
    const logits = model.logits(packed);
    const values = (await logits.array()) as number[][];
    logits.dispose();
    values.forEach((row, n) => {
      const label = labels[start + n]!;
      if (model.classes === 1) predictions.push(row[0]!);
      else predictions.push(row.indexOf(Math.max(...row)));
      if (label === null) return;
      count++;
      if (model.classes === 1) loss += (row[0]! - label) ** 2;
      else {
        const peak = Math.max(...row);
        loss += peak + Math.log(row.reduce((sum, z) => sum + Math.exp(z - peak), 0)) - row[label]!;
      }
    });
  }
  return { predictions, loss: loss / count };
}
