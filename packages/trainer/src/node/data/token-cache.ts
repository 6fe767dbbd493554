/**
 * @file Tokenised data sets on disk, under a hash of all that they are made of: rows, tokenizer, template, maximum length. What is there is
 * right or of another name, so nothing in it is ever out of date.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { isGgufFile, readTokenizerFiles } from '@spft/models/node';
import { parseSafetensors, serializeSafetensors } from '@spft/safetensors';
import { writeFileAtomically } from '@spft/safetensors/node';
import type { DataRecord } from '../../data/data-record.js';
import type { PromptTemplate } from '../../data/prompt.js';
import type { TokenizedSample, TokenizeOptions } from '../../data/tokenize.js';

/** Raised whenever tokenising changes what it makes. */
const VERSION = 1;
const TOKENIZER_FILES = [
  ...['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json', 'chat_template.jinja'],
  ...['config.json', 'generation_config.json'],
];

/** Where tokenised data lies: `SPFT_TOKENS`, or below the user's cache. */
export function tokenCacheDirectory(env: Readonly<Record<string, string | undefined>> = process.env): string {
  return env.SPFT_TOKENS || join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'spft', 'tokens');
}

/**
 * 64 hexadecimal digits of everything that the tokens depend on.
 * @param directory of the tokenizer's files.
 */
export async function tokensKey(
  directory: string,
  records: readonly DataRecord[],
  template: PromptTemplate,
  options: Omit<TokenizeOptions, 'template'>,
): Promise<string> {
  const hash = createHash('sha256');
  const add = (value: unknown) => hash.update(`${JSON.stringify(value) ?? ''}\n`);
  add([VERSION, options.maxLength, options.response ?? 'auto', options.trainOnInputs ?? false]);
  // A GGUF file has its tokenizer among its metadata.
  if (await isGgufFile(directory)) add(await readTokenizerFiles(directory));
  for (const name of TOKENIZER_FILES) {
    const bytes = await readFile(join(directory, name)).catch(() => null);
    add([name, bytes?.length ?? null]);
    if (bytes !== null) hash.update(bytes);
  }
  add(templateKey(template));
  for (const { source: _, ...record } of records) add(record);
  return hash.digest('hex');
}

/** What a template is: its functions, and what they make of an example, which shows what they close over. */
function templateKey(template: PromptTemplate): unknown[] {
  const fields = [
    { instruction: 'I', input: '' },
    { instruction: 'I', input: 'N' },
  ];
  const user = { role: 'user', content: 'I' };
  const turns = [user, { role: 'assistant', content: 'R' }];
  const attempt = (make: () => unknown) => {
    try {
      return make();
    } catch (error) {
      return (error as Error).message;
    }
  };
  return [
    template.name,
    template.addSpecialTokens ?? true,
    ...[template.prompt, template.full, template.conversation].map((one) => String(one)),
    ...fields.map((one) => attempt(() => template.prompt(one))),
    ...fields.map((one) => attempt(() => template.full?.(one, 'R'))),
    attempt(() => template.conversation?.(turns, { addGenerationPrompt: false })),
  ];
}

/** @returns null where there is nothing of that key, or it is damaged. */
export async function readTokens(directory: string, key: string): Promise<TokenizedSample[] | null> {
  const bytes = await readFile(fileOf(directory, key)).catch(() => null);
  if (bytes === null) return null;
  try {
    const file = parseSafetensors(bytes);
    const [starts, ids, labels, truncated] = await Promise.all(
      ['starts', 'input_ids', 'labels', 'truncated'].map((name) => int32(file, name)),
    );
    const samples: TokenizedSample[] = [];
    if (starts!.at(-1) !== ids!.length || labels!.length !== ids!.length) return null;
    for (let n = 0; n + 1 < starts!.length; n++) {
      const [from, to] = [starts![n]!, starts![n + 1]!];
      samples.push({
        inputIds: ids!.slice(from, to) as unknown as number[],
        labels: labels!.slice(from, to) as unknown as number[],
        truncated: truncated![n] !== 0,
      });
    }
    return samples;
  } catch {
    return null;
  }
}

async function int32(file: ReturnType<typeof parseSafetensors>, name: string): Promise<Int32Array> {
  // Copied: a Buffer's slice would be a view of the whole file.
  return new Int32Array(Uint8Array.from(await file.bytes(name)).buffer);
}

/** Writes beside, then renames. @throws what the system refuses; the caller may go on without a cache. */
export async function writeTokens(directory: string, key: string, samples: readonly TokenizedSample[]): Promise<void> {
  const total = samples.reduce((sum, { inputIds }) => sum + inputIds.length, 0);
  const [ids, labels] = [new Int32Array(total), new Int32Array(total)];
  const starts = new Int32Array(samples.length + 1);
  samples.forEach((sample, n) => {
    ids.set(sample.inputIds, starts[n]!);
    labels.set(sample.labels, starts[n]!);
    starts[n + 1] = starts[n]! + sample.inputIds.length;
  });
  const truncated = Int32Array.from(samples, (sample) => Number(sample.truncated));
  const tensor = (data: Int32Array) => ({ dtype: 'I32' as const, shape: [data.length], data });
  const bytes = serializeSafetensors(
    { input_ids: tensor(ids), labels: tensor(labels), starts: tensor(starts), truncated: tensor(truncated) },
    { key },
  );
  await mkdir(directory, { recursive: true });
  await writeFileAtomically(fileOf(directory, key), (handle) => handle.writeFile(bytes));
}

const fileOf = (directory: string, key: string) => join(directory, `${key}.safetensors`);
