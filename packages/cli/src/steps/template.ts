/** @file Which prompt is put around a text: by the user's choice, as the adapter was trained, or upstream's. */
import { nearestName } from '@spft/config';
import type { Tokenizer } from '@spft/models';
import { chatPromptTemplate, type PromptTemplate, promptTemplate, promptTemplateNames } from '@spft/trainer';
import { CliError } from '../errors.js';
import { readRunFile } from '../runs/run-file.js';

/** A template by name. `chat` is the tokenizer's chat template, or the one that `format` gives; `none` is the bare text. */
export interface TemplateChoice {
  readonly name: string;
  /** `chat_template_format` of the training keys. */
  readonly format: string | null;
}

export const NO_TEMPLATE: TemplateChoice = { name: 'none', format: null };
export const DEFAULT_TEMPLATE: TemplateChoice = { name: 'sparselora', format: null };

/**
 * @param asked what the user named, if anything.
 * @param adapter directory whose `spft_run.json` may say what it was trained with.
 * @throws CliError when no template has that name.
 */
export async function chooseTemplate(
  asked: string | undefined,
  adapter: string | undefined,
  otherwise: TemplateChoice,
): Promise<TemplateChoice> {
  if (asked !== undefined) return { name: knownTemplate(asked), format: null };
  const run = adapter === undefined ? null : await readRunFile(adapter);
  if (typeof run?.template !== 'string') return otherwise;
  const format = run.train?.chat_template_format;
  return { name: knownTemplate(run.template), format: typeof format === 'string' ? format : null };
}

/** The text and nothing around it. */
const BARE: PromptTemplate = {
  name: 'none',
  prompt: ({ instruction, input }) => (input === '' ? instruction : `${instruction}\n${input}`),
};

export function openTemplate({ name, format }: TemplateChoice, tokenizer: Tokenizer): PromptTemplate {
  if (name === 'none') return BARE;
  return name === 'chat' ? chatPromptTemplate(tokenizer, { format }) : promptTemplate(name);
}

/** The name itself. @throws CliError when no template has it. */
export function knownTemplate(name: string): string {
  const names = [...promptTemplateNames(), 'chat', 'none'];
  if (names.includes(name)) return name;
  const near = nearestName(name, names);
  throw new CliError(
    `there is no prompt template '${name}'${near === null ? '' : `; did you mean '${near}'?`} (there are ${names.join(', ')})`,
  );
}
