/** @file A few rows of a data set as text whose labelled tokens are coloured, or bracketed where there are no colours. */

import type { Tokenizer } from '@spft/models';
import { loadTokenizer, resolveModelDirectory } from '@spft/models/node';
import { type DataRecord, IGNORED_LABEL, tokenizeRecord } from '@spft/trainer';
import { at } from '@spft/trainer/internals';
import { readRecords, templateForRecords } from '../steps/open-data.js';
import { DEFAULT_TEMPLATE, knownTemplate, openTemplate, type TemplateChoice } from '../steps/template.js';
import { preparePath, writeJson } from '../terminal/json-file.js';
import type { Output } from '../terminal/output.js';

export interface DataShowFlags {
  readonly model?: string;
  readonly template?: string;
  readonly chatTemplateFormat?: string;
  readonly samples: number;
  readonly maxLength?: number;
  readonly datasetConfig?: string;
  readonly datasetRevision?: string;
  readonly datasetColumns?: string;
  readonly datasetTextField?: string;
  readonly split: string;
  readonly skipBadRows?: boolean;
  readonly json?: string;
}

const DEFAULT_LENGTH = 512;

/** One row as a run would see it. */
export interface ShownSample {
  readonly source: string | null;
  readonly inputIds: readonly number[];
  readonly labels: readonly number[];
  readonly truncated: boolean;
  /** The text in pieces, each with or without loss. */
  readonly pieces: readonly { readonly text: string; readonly hasLoss: boolean }[];
}

/** @throws DatasetError, HubError or ModelError saying what cannot be read. */
export async function runDataShow(dataset: string, flags: DataShowFlags, output: Output): Promise<void> {
  await preparePath(flags.json);
  const keys = {
    skipBadRows: flags.skipBadRows ?? false,
    datasetConfig: flags.datasetConfig ?? null,
    datasetRevision: flags.datasetRevision ?? null,
    datasetColumns: flags.datasetColumns?.split(',') ?? [],
    datasetTextField: flags.datasetTextField ?? 'text',
    splits: [flags.split],
  };
  const { records } = await readRecords(dataset, { keys, split: flags.split, limit: flags.samples }, output);
  if (flags.model === undefined) {
    for (const record of records) output.print(rowText(record));
    output.note('rows alone; with --model they are shown as tokens, and which of them carry loss');
    await writeJson(flags.json, records, output);
    return;
  }
  const tokenizer = await loadTokenizer(await resolveModelDirectory(flags.model));
  const format = flags.chatTemplateFormat ?? null;
  const named: TemplateChoice =
    flags.template !== undefined
      ? { name: knownTemplate(flags.template), format }
      : format === null
        ? DEFAULT_TEMPLATE
        : { name: 'chat', format };
  const isNamed = flags.template !== undefined || format !== null;
  const choice = templateForRecords(records, { template: named, isNamed }, tokenizer, output);
  const maxLength = flags.maxLength ?? DEFAULT_LENGTH;
  const template = openTemplate(choice, tokenizer);
  const shown = records.map((record): ShownSample => {
    const { inputIds, labels, truncated } = tokenizeRecord(tokenizer, record, { template, maxLength });
    const source = record.source ? at(record.source) : null;
    return { source, inputIds, labels, truncated, pieces: pieces(tokenizer, inputIds, labels) };
  });
  for (const sample of shown) output.print(sampleText(sample, choice.name, output));
  const empty = shown.filter(({ labels }) => labels.every((label) => label === IGNORED_LABEL)).length;
  if (empty > 0)
    output.warn(`${empty} of ${shown.length} rows have no token with a label: nothing is learned from them`);
  await writeJson(flags.json, shown, output);
}

/** Runs of tokens that have loss, or have not, as texts. */
function pieces(tokenizer: Tokenizer, ids: readonly number[], labels: readonly number[]): ShownSample['pieces'] {
  const found: { text: string; hasLoss: boolean }[] = [];
  for (let start = 0; start < ids.length; ) {
    const hasLoss = labels[start] !== IGNORED_LABEL;
    let end = start + 1;
    while (end < ids.length && (labels[end] !== IGNORED_LABEL) === hasLoss) end++;
    // The whole before it is decoded too: a tokenizer may drop the blank at the beginning of a text.
    const before = tokenizer.decode(ids.slice(0, start));
    const through = tokenizer.decode(ids.slice(0, end));
    found.push({
      text: through.startsWith(before) ? through.slice(before.length) : tokenizer.decode(ids.slice(start, end)),
      hasLoss,
    });
    start = end;
  }
  return found;
}

function sampleText(
  { source, inputIds, labels, truncated, pieces }: ShownSample,
  template: string,
  output: Output,
): string {
  const labelled = labels.filter((label) => label !== IGNORED_LABEL).length;
  const cut = truncated ? ', cut' : '';
  const { colors } = output;
  const head = colors.bold(
    `${source ?? 'row'}  ${inputIds.length} tokens, ${labelled} with loss${cut} (template ${template})`,
  );
  const body = pieces.map(({ text, hasLoss }) => {
    if (!hasLoss) return colors.dim(text);
    return colors.isColorSupported ? colors.green(text) : `⟦${text}⟧`;
  });
  return `${head}\n${body.join('')}\n`;
}

function rowText(record: DataRecord): string {
  const { source, ...row } = record;
  return `${source ? at(source) : 'row'}\n${JSON.stringify(row, null, 2)}\n`;
}
