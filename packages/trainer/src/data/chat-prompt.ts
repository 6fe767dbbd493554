/** @file The tokenizer's chat template as a prompt template: a record is one exchange of user and assistant. */
import type { ChatMessage, Tokenizer } from '@spft/models';
import { assertKnownOptions } from '@spft/safetensors/internals';
import type { PromptFields, PromptTemplate } from './prompt.js';

export interface ChatPromptOptions {
  /** `chat_template_format` of the training keys: a Jinja template, or the name of one of the tokenizer's; null or "none" for its default. */
  readonly format?: string | null;
  /** First message, of the role `system`. */
  readonly system?: string;
}

/** Instruction and input, joined by an empty line, are the user's message; the response is the assistant's. */
export function chatPromptTemplate(
  tokenizer: Pick<Tokenizer, 'applyChatTemplate'>,
  options: ChatPromptOptions = {},
): PromptTemplate {
  assertKnownOptions('chatPromptTemplate', options, { format: true, system: true });
  const { format = null, system } = options;
  const template = format === null || format === 'none' ? {} : { template: format };
  const messages = ({ instruction, input }: PromptFields): ChatMessage[] => [
    ...(system === undefined ? [] : [{ role: 'system', content: system }]),
    { role: 'user', content: input === '' ? instruction : `${instruction}\n\n${input}` },
  ];
  return {
    name: 'chat',
    addSpecialTokens: false,
    prompt: (fields) => tokenizer.applyChatTemplate(messages(fields), { ...template, addGenerationPrompt: true }),
    full: (fields, response) =>
      tokenizer.applyChatTemplate([...messages(fields), { role: 'assistant', content: response }], template),
    conversation: (turns, { addGenerationPrompt, tools }) =>
      tokenizer.applyChatTemplate(
        system === undefined || turns[0]?.role === 'system' ? turns : [{ role: 'system', content: system }, ...turns],
        { ...template, addGenerationPrompt, ...(tools ? { variables: { tools } } : {}) },
      ),
  };
}
