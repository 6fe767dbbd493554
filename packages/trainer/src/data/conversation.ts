/**
 * @file Conversations as data sets hold them: `messages` of role and content (OpenAI's and TRL's form) and `conversations` of from and value
 * (ShareGPT's), read into the messages of a chat template.
 */
import type { ChatMessage } from '@spft/models';
import type { RowSource } from './dataset-error.js';
import { shown } from './record.js';

/** One message, and whether its text is learned. */
export interface ConversationMessage extends ChatMessage {
  /** Only of the role `assistant`: false where the row says that it is context (`weight: 0`, `train: false`, or part of a prompt). */
  readonly learned?: boolean;
}

/** A conversation of which the assistant's messages are learned. */
export interface ConversationRecord {
  readonly messages: readonly ConversationMessage[];
  /** Functions that the model may call, for templates that list them. */
  readonly tools?: readonly unknown[];
  readonly source?: RowSource;
}

/** What ShareGPT's data sets call the speakers, by the roles of chat templates. */
const ROLES: Readonly<Record<string, string>> = {
  ...{ human: 'user', user: 'user', prompter: 'user' },
  ...{ gpt: 'assistant', assistant: 'assistant', chatgpt: 'assistant', bing: 'assistant', bard: 'assistant' },
  ...{ model: 'assistant', bot: 'assistant', function_call: 'assistant', tool_call: 'assistant' },
  ...{ system: 'system', developer: 'developer' },
  ...{ observation: 'tool', tool: 'tool', function: 'tool', function_response: 'tool', tool_response: 'tool' },
};

type Fields = Readonly<Record<string, unknown>>;

/**
 * A row with `messages` or `conversations`.
 * @returns the problem as text where it is none.
 */
export function parseConversation(fields: Fields): ConversationRecord | string {
  const field = 'messages' in fields ? 'messages' : 'conversations';
  const messages = parseMessages(fields[field], field);
  if (typeof messages === 'string') return messages;
  const { system } = fields;
  if (system != null && typeof system !== 'string') return `wanted a string in 'system', found ${shown(system)}`;
  if (system && messages[0]?.role !== 'system') messages.unshift({ role: 'system', content: system });
  const tools = parseTools(fields.tools);
  if (typeof tools === 'string') return tools;
  return { messages, ...(tools.length > 0 ? { tools } : {}) };
}

/** A list of messages in either form. @param learned whether the assistant's are learned where they do not say. */
export function parseMessages(value: unknown, field: string, learned = true): ConversationMessage[] | string {
  if (!Array.isArray(value)) return `wanted a list of messages in '${field}', found ${shown(value)}`;
  if (value.length === 0) return `'${field}' is empty; wanted at least one message`;
  const messages: ConversationMessage[] = [];
  for (const [index, message] of value.entries()) {
    const parsed = parseMessage(message, learned);
    if (typeof parsed === 'string') return `message ${index + 1} of '${field}': ${parsed}`;
    messages.push(parsed);
  }
  return messages;
}

function parseMessage(message: unknown, learnedByDefault: boolean): ConversationMessage | string {
  if (typeof message !== 'object' || message === null || Array.isArray(message)) {
    return `wanted an object {"role": …, "content": …} or {"from": …, "value": …}, found ${shown(message)}`;
  }
  const { role, from, content, value, weight, train, ...rest } = message as Fields;
  const speaker = role ?? from;
  if (typeof speaker !== 'string') return `wanted its speaker in 'role' or 'from', found ${shown(speaker)}`;
  const known = ROLES[speaker.toLowerCase()];
  if (known === undefined) {
    return `'${speaker}' is no speaker that is known; wanted one of ${[...new Set(Object.keys(ROLES))].join(', ')}`;
  }
  const text = textOf(content ?? value, rest.tool_calls != null);
  if (typeof text !== 'string') return text.problem;
  const learned = known === 'assistant' && learnedByDefault && weight !== 0 && train !== false;
  const kept = Object.fromEntries(Object.entries(rest).filter(([, v]) => v !== null && v !== undefined));
  return { ...kept, role: known, content: text, ...(known === 'assistant' ? { learned } : {}) };
}

/** Content as a string, or as parts of which each is text; absent where a message calls a function instead. */
function textOf(content: unknown, callsFunction: boolean): string | { readonly problem: string } {
  if (typeof content === 'string') return content;
  if (content == null && callsFunction) return '';
  if (Array.isArray(content)) {
    const parts = content.map((part: unknown) => {
      const { type, text } = (typeof part === 'object' && part !== null ? part : {}) as Fields;
      return type === 'text' && typeof text === 'string' ? text : null;
    });
    const other = content[parts.indexOf(null)];
    if (!parts.includes(null)) return parts.join('');
    return { problem: `wanted parts of type text, found ${shown(other)}; images and sounds are not supported` };
  }
  return { problem: `wanted its text in 'content' or 'value', found ${shown(content)}` };
}

/** A list, or its JSON as a string, as many data sets have it. */
function parseTools(tools: unknown): readonly unknown[] | string {
  if (tools == null || tools === '') return [];
  let list = tools;
  if (typeof tools === 'string') {
    try {
      list = JSON.parse(tools);
    } catch {
      return `wanted a list of functions in 'tools', found ${shown(tools)}`;
    }
  }
  return Array.isArray(list) ? list : `wanted a list of functions in 'tools', found ${shown(tools)}`;
}

/**
 * A conversation of one exchange as instruction and output, for templates that know no more; a system message goes before the instruction.
 * @returns the problem as text where it is longer, or learns nothing.
 */
export function singleExchange({ messages }: ConversationRecord): { instruction: string; output: string } | string {
  const system = messages[0]?.role === 'system' ? messages[0].content : undefined;
  const [question, reply, ...others] = system === undefined ? messages : messages.slice(1);
  if (question?.role !== 'user' || reply?.role !== 'assistant' || others.length > 0 || reply.learned === false) {
    return `this prompt template takes one question and its answer, found ${messages.map((m) => m.role).join(', ')}; take the tokenizer's chat template (--template chat)`;
  }
  return {
    instruction: system ? `${system}\n\n${question.content}` : question.content,
    output: reply.content,
  };
}
