/** @file What share of a dense step's arithmetic a run's sparse steps take, counted over batches as they will come. */
import { SCORE_TOKENS, type SparsityConfig, type SpftModel } from '@spft/estimator';
import { countLabelledTokens, type FlopsMethod, type LlamaForCausalLM, stepFlops } from '@spft/models';
import type { PeftModel } from '@spft/peft';
import { collate, type SampleSource, type Trainer } from '@spft/trainer';
import { epochSteps } from '@spft/trainer/internals';

/** Steps that are counted: enough for the lengths of samples to average out. */
const STEPS = 16;

/**
 * 1 for a dense run, and for estimators that mask, as these compute everything first.
 * @param samples those of the trainer, none of which it cut or left out.
 */
export function runFlopsShare(
  { model, spft, peft }: { model: LlamaForCausalLM; spft: SpftModel | null; peft: PeftModel },
  samples: SampleSource,
  trainer: Trainer,
): number {
  if (spft === null || spft.plan.estimator.applies !== 'gather') return 1;
  const method = flopsMethod(spft, peft);
  const { sparsity: _, predictorRank: __, ...dense } = method;
  let [sparseTotal, denseTotal] = [0, 0];
  const { args, plan } = trainer;
  for (const batches of epochSteps(plan, args.dataSeed ?? args.seed, 0).slice(0, Math.min(STEPS, plan.maxSteps))) {
    for (const batch of batches) {
      const collated = collate(
        batch.map((sample) => samples.sample(sample)),
        { denseTokens: spft.denseTokens },
      );
      const tokens = { layout: collated.layout, labelledTokens: countLabelledTokens(collated) };
      sparseTotal += stepFlops(model.config, tokens, method).total;
      denseTotal += stepFlops(model.config, tokens, dense).total;
    }
  }
  return sparseTotal / denseTotal;
}

/** What a step with this adapter and this sparsity is made of. */
export function flopsMethod(spft: SpftModel, peft: PeftModel): FlopsMethod {
  const rank = /^(?:svd|calibrated)_(\d+)/.exec(spft.plan.estimator.mode)?.[1];
  return {
    adapters: {
      rank: peft.config.r,
      targets: [...new Set([...peft.adapters.keys()].map((name) => name.split('.').at(-1)!))],
      dora: peft.config.useDora,
    },
    sparsity: spft.plan.layers,
    predictorRank: Number(rank ?? 0),
    channelMultiple: spft.config.channelMultiple,
    scoreRows: scoreRowsOf(spft.config),
    selectionInterval: spft.config.selectionInterval,
    gradient: spft.config.compat === 'reference' ? 'cut' : spft.config.gradient,
  };
}

/** Which rows a config's scores are taken from, as the estimator has it. */
export function scoreRowsOf({
  mode,
  scoreTokens,
  mlpSeqAvg,
  qkvoSeqAvg,
}: Pick<SparsityConfig, 'mode' | 'scoreTokens' | 'mlpSeqAvg' | 'qkvoSeqAvg'>): NonNullable<FlopsMethod['scoreRows']> {
  const count = scoreTokens ?? (mode.startsWith('calibrated') ? SCORE_TOKENS : null);
  if (count !== null) return { mlp: count === 0 ? 'all' : count, selfAttn: count === 0 ? 'all' : count };
  return { mlp: mlpSeqAvg ? 'mean' : 'all', selfAttn: qkvoSeqAvg ? 'mean' : 'all' };
}
