/** @file A row as a user would train it: adapters of `@spft/peft`, sparsity of `@spft/estimator`, gradients and AdamW of `@spft/trainer`. */
import { SpftConfig } from '@spft/config';
import { loadSpftConfig } from '@spft/config/node';
import { getSpftModel, type LayerSummary, type SpftModel, type SpftOptions } from '@spft/estimator';
import type { LlamaForCausalLM, TrainableModel } from '@spft/models';
import { getPeftModel } from '@spft/peft';
import { clipScale, globalNorm, type StepRecorder } from '@spft/sparse-ops';
import { RecordedSteps } from '@spft/trainer';
import { createOptimizer, lossAndGradients, resolveArgs, sizeOf } from '@spft/trainer/internals';
import * as tf from '@tensorflow/tfjs';
import type { RowBatch } from './llama.js';
import type { Row } from './rows.js';

export interface RowMethod {
  readonly variables: ReadonlyMap<string, tf.Variable>;
  /** Forward, backward, clipping, AdamW, as a recorded step where the backend records; the loss, owned by the caller and not read back. */
  step(batch: RowBatch): tf.Scalar;
  /** Loss and gradients by variable. Owned by the caller. */
  gradients(batch: RowBatch): { readonly loss: tf.Scalar; readonly gradients: ReadonlyMap<string, tf.Tensor> };
  /** What recorded the steps so far; null where nothing does. */
  readonly recorder: StepRecorder | null;
  /** Seconds that the predictors took; 0 without. */
  readonly predictorSeconds: number;
  /** What a sparse step computes; null for a dense method. */
  summary(): readonly LayerSummary[] | null;
  dispose(): void;
}

export interface Trained {
  readonly trained: TrainableModel;
  readonly spft: SpftModel | null;
  /** Seconds that the predictors took; 0 without. */
  readonly predictorSeconds: number;
  dispose(): void;
}

type AttachedRow = Pick<Row, 'dora' | 'sparsity' | 'targetModules' | 'checkpointing'>;
type AttachOptions = SpftOptions & { readonly mode?: string };

/** The row's adapters and sparsity on the model. @param mode instead of the file's. */
export async function attachTrained(
  model: LlamaForCausalLM,
  row: AttachedRow,
  configs: string,
  { mode, ...options }: AttachOptions = {},
): Promise<Trained> {
  const targetModules = [...(row.targetModules ?? ['q_proj', 'k_proj', 'v_proj', 'o_proj'])];
  const peft = getPeftModel(model, { r: 32, loraAlpha: 64, targetModules, useDora: row.dora }, { seed: 1 });
  let spft: SpftModel | null = null;
  let predictorSeconds = 0;
  if (row.sparsity !== null) {
    const ofFile = typeof row.sparsity === 'string';
    const whole = ofFile ? await loadSpftConfig(`${configs}/${row.sparsity}`) : SpftConfig.fromObject(row.sparsity);
    const sparsity = ofFile ? ofSoManyLayers(whole.sparsity, model.layerCount) : whole.sparsity;
    const started = performance.now();
    spft = await getSpftModel(peft, { ...whole, sparsity, ...(mode && { mode }) }, options);
    predictorSeconds = (performance.now() - started) / 1000;
  }
  return {
    ...{ trained: spft ?? peft, spft, predictorSeconds },
    dispose() {
      spft?.dispose();
      peft.dispose();
    },
  };
}

/** Adapters and sparsity, and what trains them. */
export async function attach(
  model: LlamaForCausalLM,
  row: AttachedRow,
  configs: string,
  options: AttachOptions = {},
): Promise<RowMethod> {
  const { trained, spft, predictorSeconds, dispose } = await attachTrained(model, row, configs, options);
  const optimizer = createOptimizer(trained.variables, resolveArgs({}));
  const gradientCheckpointing = row.checkpointing ?? false;
  const run = (batch: RowBatch) =>
    lossAndGradients(trained, batch, {
      ...{ training: true, seed: 3, normalizer: batch.labelledTokens },
      gradientCheckpointing,
    });
  let recorded: RecordedSteps | null | undefined;
  const prepared = (batch: RowBatch) => ({ layout: batch.layout, rows: trained.recordable!.rows(batch) });
  const recordedStep = (batch: RowBatch): tf.Scalar | null => {
    const batches = [prepared(batch)];
    const rules = { maxGradNorm: 1, gradientCheckpointing };
    recorded ??= RecordedSteps.of(trained, optimizer, rules, () => ({
      sizes: batches.map(({ layout, rows }) => sizeOf(layout, rows)),
      isAll: true,
    }));
    const values = { batches, seeds: [3], normalizer: batch.labelledTokens, learningRate: 3e-4 };
    const result = recorded?.step(values);
    result?.gradientNorm.dispose();
    return result?.losses[0] ?? null;
  };
  return {
    variables: trained.variables,
    predictorSeconds,
    summary: () => spft?.summary() ?? null,
    step(batch) {
      const done = recordedStep(batch);
      if (done) return done;
      const { loss, gradients } = run(batch);
      const gradientScale = tf.tidy(() => clipScale(globalNorm(gradients), 1));
      optimizer.step(gradients, { learningRate: 3e-4, gradientScale });
      tf.dispose([gradientScale, ...gradients]);
      return loss;
    },
    gradients(batch) {
      const { loss, gradients } = run(batch);
      return { loss, gradients: new Map([...trained.variables.keys()].map((name, n) => [name, gradients[n]!])) };
    },
    get recorder() {
      return recorded?.recorder ?? null;
    },
    dispose() {
      recorded?.dispose();
      optimizer.dispose();
      dispose();
    },
  };
}

/** A file's sparsities for a model of fewer than its 32 layers: those up to the last layer in which both MLP and attention are sparse. */
function ofSoManyLayers(sparsity: Readonly<Record<string, number>>, layers: number): Record<string, number> {
  if (layers === 32) return sparsity;
  const whole = (n: number) => ['mlp', 'self_attn'].every((module) => (sparsity[`layers.${n}.${module}`] ?? 0) > 0);
  const last = Array.from({ length: 32 }, (_, n) => 31 - n).find(whole) ?? 31;
  const cut = Object.entries(sparsity).flatMap(([name, value]) => {
    const layer = Number(/\d+/.exec(name)![0]) - (last + 1 - layers);
    return layer >= 0 && layer < layers ? [[name.replace(/\d+/, String(layer)), value] as const] : [];
  });
  return Object.fromEntries(cut);
}
