/** @file Chat templates: which there are, and rendering one. */
import { showValue } from '@spft/safetensors';
import { ModelError } from '../errors.js';
import { parseTemplate, render } from './jinja/index.js';
import type { ChatMessage, ChatTemplateOptions } from './types.js';

/**
 * Templates by name from `chat_template` of tokenizer_config.json: one as a string, several as a list of `{name, template}` or an object.
 * @throws ModelError when it is none of these.
 */
export function chatTemplatesOf(value: unknown): Map<string, string> {
  if (value === undefined || value === null) return new Map();
  if (typeof value === 'string') return new Map([['default', value]]);
  const named: [unknown, unknown][] = Array.isArray(value)
    ? value.map((t) => [t?.name, t?.template])
    : typeof value === 'object'
      ? Object.entries(value)
      : [[null, null]];
  if (named.some(([name, template]) => typeof name !== 'string' || typeof template !== 'string')) {
    throw new ModelError(
      `tokenizer_config.json: chat_template: wanted a string or a list of {name, template}, found ${showValue(value, 120)}`,
    );
  }
  return new Map(named as [string, string][]);
}

/**
 * @param tokens `bos_token` and the other named tokens, which templates write.
 * @throws ModelError when there is no such template, it is no valid Jinja, or it refuses the messages.
 */
export function renderChatTemplate(
  templates: ReadonlyMap<string, string>,
  tokens: Readonly<Record<string, string>>,
  messages: readonly ChatMessage[],
  options: ChatTemplateOptions,
): string {
  const source = chooseTemplate(templates, options);
  try {
    return render(parseTemplate(source), {
      // As transformers gives them: None where there are none, and not undefined.
      tools: null,
      documents: null,
      ...tokens,
      ...options.variables,
      messages,
      add_generation_prompt: options.addGenerationPrompt ?? false,
    });
  } catch (cause) {
    const { message } = cause as Error;
    throw new ModelError(
      cause instanceof RangeError
        ? 'the chat template or a message is nested too deep'
        : `the chat template refuses these messages: ${message.slice(0, 500)}`,
      { cause },
    );
  }
}

function chooseTemplate(templates: ReadonlyMap<string, string>, { template, variables }: ChatTemplateOptions): string {
  if (template !== undefined) {
    const named = templates.get(template);
    if (named !== undefined) return named;
    if (/\{[{%#]/.test(template)) return template;
    throw new ModelError(
      `there is no chat template '${template}'; the tokenizer has ${[...templates.keys()].map((n) => `'${n}'`).join(', ') || 'none'}`,
    );
  }
  const tools = variables?.tools == null ? undefined : templates.get('tool_use');
  const chosen = tools ?? templates.get('default') ?? (templates.size === 1 ? [...templates.values()][0] : undefined);
  if (chosen !== undefined) return chosen;
  if (templates.size > 0) {
    throw new ModelError(
      `the tokenizer has several chat templates and none called 'default'; choose one by name: ${[...templates.keys()].join(', ')}`,
    );
  }
  throw new ModelError(
    'the tokenizer has no chat template (chat_template in tokenizer_config.json, or chat_template.jinja), as base models have none; ' +
      'use a model made for chats, or give a template of your own',
  );
}
