/** @file A worker that tokenises: it opens the tokenizer once, then gets rows and gives back their tokens. */
import { parentPort, workerData } from 'node:worker_threads';
import { loadTokenizer } from '@spft/models/node';
import type { DataRecord } from '../../data/data-record.js';
import type { DatasetError } from '../../data/dataset-error.js';
import { namedTemplate, type TemplateChoice } from '../../data/named-template.js';
import { type TokenizedSample, type TokenizeOptions, tokenizeRecord } from '../../data/tokenize.js';

export interface WorkerSetup {
  readonly directory: string;
  readonly template: TemplateChoice;
  readonly options: Omit<TokenizeOptions, 'template'>;
}

export interface WorkerAnswer {
  readonly samples?: readonly TokenizedSample[];
  /** Instead of samples. */
  readonly error?: { readonly message: string; readonly file?: string; readonly line?: number; readonly code?: string };
}

const { directory, template: choice, options } = workerData as WorkerSetup;
const tokenizer = await loadTokenizer(directory);
const template = namedTemplate(choice, tokenizer);

parentPort!.on('message', (records: readonly DataRecord[]) => {
  let answer: WorkerAnswer;
  try {
    answer = { samples: records.map((record) => tokenizeRecord(tokenizer, record, { ...options, template })) };
  } catch (error) {
    const { message, file, line, code } = error as DatasetError;
    answer = { error: { message, file, line, code } };
  }
  parentPort!.postMessage(answer);
});
