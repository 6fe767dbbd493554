/** @file A plan as a sparsity file in the original's format, its numbers as comments. */
import type { SparsityPlanning } from './plan-sparsity.js';
import { layerTimesText, percent } from './unmet-budget.js';

export interface PlanTextFacts {
  readonly mode: string;
  readonly model: string;
  readonly dataset: string;
  readonly backend: string;
  /** Kept channels are rounded up to a multiple of it; null: as the backend has it. */
  readonly channelMultiple: number | null;
  readonly layerCount: number;
  /** Tells the model from others. */
  readonly fingerprint: string;
  /** Rank of the maps with which all was measured; 0 for none. */
  readonly compensationRank: number;
  /** Keys of the sparsity file that say which steps are sparse, where it is not all of them. */
  readonly schedule?: Readonly<Record<string, number>>;
}

/** YAML; ends with a newline. */
export function planText(planning: SparsityPlanning, facts: PlanTextFacts): string {
  const { denseLoss, loss, runFlops, runTime, skipTailTokens, sparsity, sensitivity, layerTimes } = planning;
  const schedule = Object.entries(facts.schedule ?? {});
  const oneLine = (text: string) => text.replace(/\s+/g, ' ');
  const verdict = timeVerdict(planning, facts);
  const lines = [
    `# Planned for ${oneLine(facts.model)} on ${oneLine(facts.dataset)}, backend ${facts.backend}: a sparse step takes ${stepShares(planning)}.`,
    ...(schedule.length > 0
      ? [
          `# With the steps that are dense the run takes ${percent(runFlops)} of the FLOPs${runTime === null ? '' : ` and ${percent(runTime)} of the time`}.`,
        ]
      : []),
    ...(layerTimes === null
      ? []
      : [`# Time of a layer with one module sparse, beside a dense layer's: ${layerTimesText(layerTimes)}.`]),
    ...(verdict === null ? [] : [`# ${verdict}`]),
    `# Loss of ${planning.labelledTokens} labelled tokens (${planning.samples} samples) before training: dense ${denseLoss.toFixed(4)}, with this plan ${loss.toFixed(4)}.`,
    ...(facts.compensationRank > 0 ? [`# ${compensationText(facts)}`] : []),
    '# What each number of dense tokens at the end of a prompt comes to:',
    ...[...planning.tails].map(([tail, found]) =>
      found === null
        ? `#   ${tail}: the budget cannot be met`
        : `#   ${tail}: loss ${found.loss.toFixed(4)} at ${percent(found.flops)} of the FLOPs${found.time === null ? '' : `, ${percent(found.time)} of the time, predicted`}`,
    ),
    `mode: ${facts.mode}`,
    'skip_output_tokens: true',
    `skip_tail_tokens: ${skipTailTokens}`,
    // In quotes: of digits alone it would be read as a number.
    `planned_for: '${facts.fingerprint}'`,
    // Where no MLP is sparse, nothing is dropped that a map could replace.
    `compensation_rank: ${[...sparsity.keys()].some((module) => module.endsWith('.mlp')) ? facts.compensationRank : 0}`,
    ...schedule.map(([key, value]) => `${key}: ${value}`),
    ...(facts.channelMultiple === null ? [] : [`channel_multiple: ${facts.channelMultiple}`]),
    '# Behind each: how much the loss rises with this module alone at each sparsity.',
    'sparsity:',
  ];
  for (let layer = 0; layer < facts.layerCount; layer++) {
    for (const part of ['mlp', 'self_attn']) {
      const module = `layers.${layer}.${part}`;
      const rises = [...(sensitivity.get(module) ?? [])].map(([level, rise]) => `${level}: ${signed(rise)}`);
      lines.push(`  ${module}: ${sparsity.get(module) ?? 0}${rises.length > 0 ? `  # ${rises.join(', ')}` : ''}`);
    }
  }
  return `${lines.join('\n')}\n`;
}

/** Of a step: `64.0 % of a dense one's FLOPs and 80.1 % of its time (measured as a whole; …)`. */
export function stepShares({ flops, time, measuredTime }: SparsityPlanning): string {
  const ofFlops = `${percent(flops)} of a dense one's FLOPs`;
  if (time === null) return ofFlops;
  const predicted = `${percent(time)} predicted by a layer's and a step's`;
  return measuredTime === null
    ? `${ofFlops} and ${predicted}`
    : `${ofFlops} and ${percent(measuredTime)} of its time (measured as a whole; ${predicted})`;
}

/** Two measurements of one thing differ by as much: what saves less is not told from what saves nothing. */
const LEAST_SAVING = 0.02;

/** What is to be said of a plan that saves arithmetic and no time; null where it saves time, or nothing was timed. */
export function timeVerdict(
  { flops, measuredTime }: Pick<SparsityPlanning, 'flops' | 'measuredTime'>,
  { backend }: Pick<PlanTextFacts, 'backend'>,
): string | null {
  if (measuredTime === null || measuredTime < 1 - LEAST_SAVING) return null;
  return (
    `This plan saves no time here: a sparse step takes ${percent(measuredTime)} of a dense one's time on ${backend} at this shape, measured, ` +
    `though ${percent(flops)} of its FLOPs. Where time is what counts, train densely (fewer steps save arithmetic and time), or plan by time ` +
    '(spft sparsity plan --time SHARE), which leaves dense what is not faster and says what can be had.'
  );
}

/** Of a plan for runs with `compensation_rank`. */
export function compensationText({ compensationRank }: Pick<PlanTextFacts, 'compensationRank'>): string {
  return `Measured with compensation_rank ${compensationRank}: what dropped MLP channels would have given is replaced by maps of that rank, whose arithmetic is counted. Without them, or with others, it is another plan.`;
}

const signed = (value: number) => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(4)}`;
