/** @file A prompt template by the name that a command line or a worker knows it by. */
import type { Tokenizer } from '@spft/models';
import { chatPromptTemplate } from './chat-prompt.js';
import { ALPACA_TEMPLATE, PLAIN_TEMPLATE, type PromptTemplate, promptTemplate, SPARSELORA_TEMPLATE } from './prompt.js';

/** A template by name. `chat` is the tokenizer's chat template, or the one that `format` gives; `none` is the bare text. */
export interface TemplateChoice {
  readonly name: string;
  /** `chat_template_format` of the training keys. */
  readonly format: string | null;
}

/** The text and nothing around it. */
const BARE: PromptTemplate = {
  name: 'none',
  prompt: ({ instruction, input }) => (input === '' ? instruction : `${instruction}\n${input}`),
};

/** @throws RangeError when no template has that name. */
export function namedTemplate(
  { name, format }: TemplateChoice,
  tokenizer: Pick<Tokenizer, 'applyChatTemplate'>,
): PromptTemplate {
  if (name === 'none') return BARE;
  return name === 'chat' ? chatPromptTemplate(tokenizer, { format }) : promptTemplate(name);
}

/** Whether it is one that every process has, and none that this one registered. */
export function isBuiltinTemplate(name: string): boolean {
  const builtin = [BARE, SPARSELORA_TEMPLATE, ALPACA_TEMPLATE, PLAIN_TEMPLATE].map((template) => template.name);
  return name === 'chat' || builtin.includes(name);
}
