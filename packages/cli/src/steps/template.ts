/** @file Which prompt is put around a text: by the user's choice, as the adapter was trained, or upstream's. */
import type { Tokenizer } from '@spft/models';
import { nearestName } from '@spft/safetensors/internals';
import { type PromptTemplate, promptTemplateNames } from '@spft/trainer';
import { namedTemplate, type TemplateChoice } from '@spft/trainer/internals';
import { CliError } from '../errors.js';
import { readRunFile } from '../runs/run-file.js';

export type { TemplateChoice } from '@spft/trainer/internals';

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

export function openTemplate(choice: TemplateChoice, tokenizer: Tokenizer): PromptTemplate {
  return namedTemplate(choice, tokenizer);
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
