/**
 * @file A conversation as token ids and labels: the chat template renders it as one text, and the tokens of the assistant's messages, each
 * up to the token that ends its turn, carry the loss. Where they stand is found by rendering the conversation up to each message.
 */
import type { Tokenizer } from '@spft/models';
import { IGNORED_LABEL } from '../batch/samples.js';
import type { ConversationRecord } from './conversation.js';
import { at, DatasetError } from './dataset-error.js';
import type { PromptTemplate } from './prompt.js';
import { commonLength, tokensBefore } from './token-position.js';

type Encoder = Pick<Tokenizer, 'encode'>;

/** Characters of the whole text that a message's loss covers. */
interface Span {
  readonly start: number;
  readonly end: number;
}

/**
 * @param template one with `conversation`, e.g. that of `chatPromptTemplate`.
 * @returns ids and labels of the whole conversation, not yet cut to a maximum.
 * @throws DatasetError when the template refuses the conversation, or renders it so that a message cannot be found again.
 */
export function tokenizeConversation(
  tokenizer: Encoder,
  record: ConversationRecord,
  template: Required<Pick<PromptTemplate, 'conversation'>> & Pick<PromptTemplate, 'addSpecialTokens'>,
): { inputIds: number[]; labels: number[] } {
  const refuse = (problem: string, cause?: unknown) =>
    new DatasetError(`${record.source ? `${at(record.source)}: ` : ''}${problem}`, { ...record.source, cause });
  const messages = record.messages.map(({ learned: _, ...message }) => message);
  const render = (count: number, addGenerationPrompt: boolean) => {
    try {
      return template.conversation(messages.slice(0, count), { tools: record.tools, addGenerationPrompt });
    } catch (cause) {
      throw refuse((cause as Error).message, cause);
    }
  };
  const text = render(messages.length, false);
  const spans: Span[] = [];
  for (const [index, message] of record.messages.entries()) {
    if (message.role !== 'assistant' || message.learned === false) continue;
    const from = spans.at(-1)?.end ?? 0;
    // A template that refuses to begin with the assistant cannot say where its turn begins; its text can.
    const before = index === 0 ? '' : render(index, true);
    const through = index + 1 === messages.length ? text : render(index + 1, false);
    const body = message.content.trim();
    let start = before.length;
    if (index === 0 || !text.startsWith(before)) {
      start = body === '' ? -1 : text.indexOf(body, from);
    }
    let end = commonLength(text, through);
    if (start >= 0 && end < start + body.length && text.startsWith(body, start)) end = start + body.length;
    // A line break after the token that ends a turn is nobody's to write; without such a token it is what ends the turn.
    const trimmed = text.slice(0, end).trimEnd().length;
    if (trimmed > text.indexOf(body, Math.max(start, 0)) + body.length) end = trimmed;
    if (start < from || start > end || !text.slice(start, end).includes(body)) {
      throw refuse(
        `the chat template renders message ${index + 1} otherwise in the whole conversation than alone (as templates do that leave earlier reasoning out), so its tokens cannot be told; split the conversation, or give another template (--chat_template_format)`,
      );
    }
    spans.push({ start, end });
  }
  const inputIds = tokenizer.encode(text, { addSpecialTokens: template.addSpecialTokens ?? true });
  const labels: number[] = new Array(inputIds.length).fill(IGNORED_LABEL);
  for (const { start, end } of spans) {
    const first = tokenAt(tokenizer, inputIds, text, start, 'down', template.addSpecialTokens);
    const last = tokenAt(tokenizer, inputIds, text, end, 'up', template.addSpecialTokens);
    for (let t = first; t < last; t++) labels[t] = inputIds[t]!;
  }
  return { inputIds, labels };
}

/**
 * How many tokens the text's first `position` characters are: exactly, where a token ends there, as is usual because templates put special
 * tokens around turns; else without (`down`) or with (`up`) the token that reaches over it.
 */
function tokenAt(
  tokenizer: Encoder,
  ids: readonly number[],
  text: string,
  position: number,
  rounding: 'up' | 'down',
  addSpecialTokens = true,
): number {
  const encode = (part: string) => tokenizer.encode(part, { addSpecialTokens });
  const { count, isExact } = tokensBefore(encode, ids, text, position);
  return isExact || rounding === 'down' ? count : Math.min(ids.length, count + 1);
}
