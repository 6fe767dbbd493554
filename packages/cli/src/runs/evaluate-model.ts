/** @file Evaluation by generation, with progress and a table: what `spft eval` does and `spft train` ends with. */
import { type DensePromptTokens, generate } from '@spft/models';
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import {
  type EvaluationResult,
  type EvaluationTask,
  evaluateTask,
  type PromptTemplate,
  type Ranks,
} from '@spft/trainer';
import { loadTasks } from '@spft/trainer/node';
import type { OpenedModel } from '../steps/open-model.js';
import type { Output } from '../terminal/output.js';
import { bytes, percent, table } from '../terminal/table.js';

export interface EvaluateModelOptions {
  /** Among which the questions are dealt out. */
  readonly ranks?: Ranks | null;
  /** The one that was trained with. */
  readonly template: PromptTemplate;
  /** Prompts a batch. Default 8. */
  readonly batchSize?: number;
  /** Longest answer; default: what the set calls for. */
  readonly maxNewTokens?: number;
  /** So many questions of each set; drawn by `seed`, or the first ones without one. */
  readonly limit?: number;
  readonly seed?: number;
  /** Prompts are read as the sparsity plan on the model has it, these tokens densely. Default: all channels, whatever the plan. */
  readonly densePromptTokens?: DensePromptTokens;
}

const OPTIONS: OptionNames<EvaluateModelOptions> = {
  ...{ ranks: true, template: true, batchSize: true, maxNewTokens: true },
  ...{ limit: true, seed: true, densePromptTokens: true },
};

/**
 * Evaluation sets, downloaded where they have names and are missing.
 * @param spec names or files joined by `+`.
 * @throws DatasetError
 */
export async function openTasks(spec: string, output: Output, skipBadRows = false): Promise<EvaluationTask[]> {
  const status = output.task(`evaluation sets ${spec}`);
  try {
    const tasks = await loadTasks(spec, {
      skipBadRows,
      onProgress: ({ received, total }) =>
        status.update(total === null ? null : received / total, `${bytes(received)} downloaded`),
    });
    const bad = tasks.flatMap(({ badRows }) => badRows);
    status.done(tasks.map(({ name, examples }) => `${name} ${examples.length}`).join(', '));
    if (bad[0])
      output.warn(`${bad.length} rows were skipped; the first: ${bad[0].file}:${bad[0].line}: ${bad[0].problem}`);
    return tasks;
  } catch (error) {
    status.fail();
    throw error;
  }
}

/** Lets the model, with whatever adapter is on it, answer every question. */
export async function evaluateModel(
  opened: OpenedModel,
  tasks: readonly EvaluationTask[],
  given: EvaluateModelOptions,
  output: Output,
): Promise<EvaluationResult[]> {
  assertKnownOptions('evaluateModel', given, OPTIONS);
  const { densePromptTokens, ...options } = given;
  const { model, tokenizer } = opened;
  const eos = tokenizer.eosTokenId;
  const eosTokenIds = [...new Set([...model.config.eosTokenIds, ...(eos === null ? [] : [eos])])];
  const results: EvaluationResult[] = [];
  for (const task of tasks) {
    const status = output.task(`evaluate ${task.name}`);
    try {
      const result = await evaluateTask(
        async (prompts, asked) => {
          // Whoever waits for Ctrl-C or draws a bar gets a turn between batches.
          await new Promise(setImmediate);
          return generate(model, prompts, { ...asked, densePromptTokens });
        },
        tokenizer,
        task,
        {
          ...options,
          eosTokenIds,
          keepPrompts: true,
          onProgress: ({ done, total, correct }) => status.update(done / total, `${percent(correct / done)} correct`),
        },
      );
      status.done(`${percent(result.accuracy)} correct of ${result.total}`);
      results.push(result);
    } catch (error) {
      status.fail();
      throw error;
    }
  }
  return results;
}

/** Accuracy by set, and their mean as upstream's papers give it. */
export function evaluationTable(results: readonly EvaluationResult[]): string {
  const rows = results.map(({ task, accuracy, correct, total, seconds }) => [
    task,
    percent(accuracy),
    `${correct} of ${total}`,
    `${(seconds / total).toFixed(2)}`,
  ]);
  if (results.length > 1) {
    const mean = results.reduce((sum, { accuracy }) => sum + accuracy, 0) / results.length;
    rows.push(['mean', percent(mean), '', '']);
  }
  return table(['set', 'accuracy', 'correct', 's/question'], rows);
}

/** For a JSON summary. */
export function evaluationSummary(results: readonly EvaluationResult[]) {
  return results.map(({ task, accuracy, correct, total, seconds }) => ({
    set: task,
    accuracy,
    correct,
    total,
    seconds,
  }));
}
