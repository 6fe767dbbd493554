/**
 * @file A whole data set as samples, in the way that costs least: from the cache; else only the samples that a short run sees; else all of
 * them, in workers where there are many.
 */
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { Tokenizer } from '@spft/models';
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import { LazySamples, type SampleSource } from '../../batch/sample-source.js';
import { countLabels } from '../../batch/samples.js';
import type { DataRecord } from '../../data/data-record.js';
import { at, DatasetError } from '../../data/dataset-error.js';
import { isBuiltinTemplate, namedTemplate, type TemplateChoice } from '../../data/named-template.js';
import { type TokenizedSample, type TokenizeOptions, tokenizeRecord } from '../../data/tokenize.js';
import { readTokens, tokenCacheDirectory, tokensKey, writeTokens } from './token-cache.js';
import type { WorkerAnswer, WorkerSetup } from './tokenize-worker.js';

/** Fewer rows are tokenised in a second or two, which neither workers nor a file make better. */
const MANY = 2000;
/** Rows that a worker gets at a time. */
const CHUNK = 256;

export interface TokenizeDatasetOptions extends Omit<TokenizeOptions, 'template'> {
  readonly template: TemplateChoice;
  /** How many samples the run will ask for, if fewer than there are. */
  readonly visits?: number;
  readonly onProgress?: (done: number, total: number) => void;
  /** Default: `tokenCacheDirectory()`; null for no cache. */
  readonly cacheDirectory?: string | null;
  /** Default: as many as there are processors, at most 8; 0 for none. */
  readonly workers?: number;
  /** Said once, e.g. that the cache cannot be written. */
  readonly notify?: (message: string) => void;
}

const OPTIONS: OptionNames<TokenizeDatasetOptions> = {
  ...{ template: true, maxLength: true, response: true, trainOnInputs: true },
  ...{ visits: true, onProgress: true, cacheDirectory: true, workers: true, notify: true },
};

export interface TokenizedDataset {
  readonly source: SampleSource;
  /** All samples that have a label; null where they are made when they are asked for. */
  readonly samples: readonly TokenizedSample[] | null;
  /** Where they came from. */
  readonly from: 'cache' | 'workers' | 'here' | 'lazily';
  /** Samples that were cut, and rows without a label, which are left out; null where that is not known yet. */
  readonly truncated: number | null;
  readonly unlabelled: number | null;
  /** Of the first row without a label. */
  readonly firstUnlabelled: DataRecord | null;
}

/**
 * @param tokenizer that of `directory`.
 * @param directory of the tokenizer's files.
 * @throws DatasetError when a row cannot be tokenised, or none has a label.
 */
export async function tokenizeDataset(
  tokenizer: Tokenizer,
  directory: string,
  records: readonly DataRecord[],
  options: TokenizeDatasetOptions,
): Promise<TokenizedDataset> {
  assertKnownOptions('tokenizeDataset', options, OPTIONS);
  const { template: choice, visits = Infinity, onProgress, notify } = options;
  const template = namedTemplate(choice, tokenizer);
  const rules = { maxLength: options.maxLength, response: options.response, trainOnInputs: options.trainOnInputs };
  const key = await tokensKey(directory, records, template, rules);
  const isLarge = records.length >= MANY;
  const cache = options.cacheDirectory === undefined ? tokenCacheDirectory() : options.cacheDirectory;

  const cached = isLarge && cache !== null ? await readTokens(cache, key) : null;
  if (cached !== null && cached.length === records.length) return collected(key, records, cached, 'cache', rules);
  if (isLarge && visits < records.length) {
    const make = (index: number) => tokenizeRecord(tokenizer, records[index]!, { ...rules, template });
    const source = new LazySamples({
      length: records.length,
      digest: key,
      make,
      exhausted: () => noLabel(records, records[0]!, rules.maxLength),
    });
    // Where no row has a label, that is said before anything is written.
    source.sample(0);
    const unknown = { truncated: null, unlabelled: null, firstUnlabelled: null };
    return { source, samples: null, from: 'lazily', ...unknown };
  }
  const workers = options.workers ?? Math.min(8, availableParallelism());
  const inWorkers = isLarge && workers > 1 && isBuiltinTemplate(choice.name) && existsSync(WORKER);
  const samples = inWorkers
    ? await inParallel(records, { directory, template: choice, options: rules }, workers, onProgress)
    : records.map((record, n) => {
        const sample = tokenizeRecord(tokenizer, record, { ...rules, template });
        onProgress?.(n + 1, records.length);
        return sample;
      });
  if (isLarge && cache !== null) {
    await writeTokens(cache, key, samples).catch((error: Error) =>
      notify?.(`tokenised data is not kept for the next run: ${error.message}`),
    );
  }
  return collected(key, records, samples, inWorkers ? 'workers' : 'here', rules);
}

function collected(
  digest: string,
  records: readonly DataRecord[],
  all: readonly TokenizedSample[],
  from: TokenizedDataset['from'],
  { maxLength }: { readonly maxLength: number },
): TokenizedDataset {
  const labelled = all.flatMap((sample, index) => (countLabels(sample.labels) > 0 ? [{ ...sample, index }] : []));
  const first = all.findIndex((sample) => countLabels(sample.labels) === 0);
  if (labelled.length === 0) throw noLabel(records, records[0]!, maxLength);
  return {
    source: { length: labelled.length, digest, sample: (n) => labelled[n]! },
    samples: labelled,
    from,
    truncated: labelled.filter((sample) => sample.truncated).length,
    unlabelled: all.length - labelled.length,
    firstUnlabelled: first < 0 ? null : records[first]!,
  };
}

function noLabel(records: readonly DataRecord[], { source }: DataRecord, maxLength: number): DatasetError {
  return new DatasetError(
    `${source ? at(source) : 'the data set'}: no label is left: in all of the ${records.length} rows the prompt fills the maximum of ${maxLength} tokens, the response is empty, or no message is the assistant's; raise model_max_length, or show what the rows become (spft data show)`,
    { ...source },
  );
}

const WORKER = fileURLToPath(new URL('./tokenize-worker.js', import.meta.url));

/** Chunks of rows to whichever worker is free. */
async function inParallel(
  records: readonly DataRecord[],
  setup: WorkerSetup,
  count: number,
  onProgress?: (done: number, total: number) => void,
): Promise<TokenizedSample[]> {
  const samples: TokenizedSample[] = new Array(records.length);
  let [next, done] = [0, 0];
  const workers = Array.from({ length: Math.min(count, Math.ceil(records.length / CHUNK)) }, () => {
    return new Worker(WORKER, { workerData: setup });
  });
  const run = (worker: Worker) =>
    new Promise<void>((resolve, reject) => {
      let start = 0;
      const give = () => {
        start = next;
        next = Math.min(records.length, next + CHUNK);
        if (start < records.length) worker.postMessage(records.slice(start, next));
        else resolve();
      };
      worker.on('message', ({ samples: made, error }: WorkerAnswer) => {
        if (error) {
          const { message, file, line } = error;
          reject(new DatasetError(message, { file, line }));
          return;
        }
        made!.forEach((sample, n) => {
          samples[start + n] = sample;
        });
        done += made!.length;
        onProgress?.(done, records.length);
        give();
      });
      worker.on('error', reject);
      worker.on('exit', (code) => reject(new Error(`internal: a tokenising worker ended with code ${code}`)));
      give();
    });
  try {
    await Promise.all(workers.map(run));
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
  return samples;
}
