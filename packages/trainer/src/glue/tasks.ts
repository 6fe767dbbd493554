/** @file GLUE's tasks: columns, classes in the order of their numbers, metrics (Hugging Face's `glue` data and `evaluate`'s script of the same name). */
import { nearestName } from '@spft/safetensors/internals';
import { DatasetError } from '../data/dataset-error.js';

export type GlueMetric = 'accuracy' | 'f1' | 'matthews_correlation' | 'pearson' | 'spearmanr';

export interface GlueTask {
  readonly name: string;
  /** Columns of the one or two texts. */
  readonly columns: readonly [string] | readonly [string, string];
  /** Names of the classes by number; empty for a regression. */
  readonly classes: readonly string[];
  /** Where there are two, their mean is `combined_score`. */
  readonly metrics: readonly GlueMetric[];
  /** Splits of the hub that are evaluated, by the name that their metrics get. */
  readonly evaluated: Readonly<Record<string, string>>;
  /** As the original's script has them. */
  readonly epochs: number;
  /** Folder of GLUE's own files. */
  readonly folder: string;
}

const task = (
  name: string,
  columns: GlueTask['columns'],
  classes: readonly string[],
  metrics: readonly GlueMetric[],
  more: Partial<GlueTask> = {},
): GlueTask => ({
  name,
  columns,
  classes,
  metrics,
  evaluated: { [name]: 'validation' },
  epochs: 3,
  folder: name.toUpperCase(),
  ...more,
});

const SENTENCES = ['sentence1', 'sentence2'] as const;
const ENTAILMENT = ['entailment', 'not_entailment'];

/** In the order in which the original's script trains them. */
export const GLUE_TASKS: readonly GlueTask[] = [
  task('rte', SENTENCES, ENTAILMENT, ['accuracy']),
  task('cola', ['sentence'], ['unacceptable', 'acceptable'], ['matthews_correlation'], { folder: 'CoLA' }),
  task('stsb', SENTENCES, [], ['pearson', 'spearmanr'], { folder: 'STS-B' }),
  task('sst2', ['sentence'], ['negative', 'positive'], ['accuracy'], { folder: 'SST-2' }),
  task('qnli', ['question', 'sentence'], ENTAILMENT, ['accuracy']),
  task('mrpc', SENTENCES, ['not_equivalent', 'equivalent'], ['accuracy', 'f1'], { epochs: 5 }),
  task('mnli', ['premise', 'hypothesis'], ['entailment', 'neutral', 'contradiction'], ['accuracy'], {
    evaluated: { mnli: 'validation_matched', 'mnli-mm': 'validation_mismatched' },
  }),
  task('qqp', ['question1', 'question2'], ['not_duplicate', 'duplicate'], ['accuracy', 'f1']),
  task('wnli', SENTENCES, ['not_entailment', 'entailment'], ['accuracy'], { epochs: 5 }),
];

/** @throws DatasetError with the nearest name. */
export function glueTask(name: string): GlueTask {
  const found = GLUE_TASKS.find(
    (one) =>
      one.name ===
      name
        .toLowerCase()
        .replace(/^sts-b$/, 'stsb')
        .replace(/^sst-2$/, 'sst2'),
  );
  if (found) return found;
  const names = GLUE_TASKS.map((one) => one.name);
  const near = nearestName(name, names);
  throw new DatasetError(
    `there is no GLUE task '${name}'${near === null ? '' : `; did you mean '${near}'?`} (there are ${names.join(', ')})`,
  );
}
