/**
 * @file Prompts: how an instruction becomes the text that a model continues. The built-in ones, and a registry for the user's own.
 */
import type { ChatMessage } from '@spft/models';
import { assertKnownOptions, nearestName, type OptionNames } from '@spft/safetensors/internals';
import type { InstructionRecord } from './record.js';

/** What a prompt is made from. */
export type PromptFields = Pick<InstructionRecord, 'instruction' | 'input'>;

export interface PromptTemplate {
  readonly name: string;
  /** The text up to where the response begins. */
  prompt(fields: PromptFields): string;
  /** The prompt in evaluation, where it is another one. */
  evaluationPrompt?(fields: PromptFields): string;
  /** Prompt and response as one text, where that is more than their concatenation; it then ends the response itself. */
  full?(fields: PromptFields, response: string): string;
  /** A whole conversation as one text, where the template knows turns. @throws an error that says what it refuses. */
  conversation?(messages: readonly ChatMessage[], options: ConversationOptions): string;
  /** A model that writes this goes on to another turn: its response ended before. */
  readonly stop?: string;
  /** Whether the tokenizer adds its own tokens, e.g. that of the beginning. Default true; false where the template writes them. */
  readonly addSpecialTokens?: boolean;
}

export interface ConversationOptions {
  /** End with what begins an answer of the assistant. */
  readonly addGenerationPrompt: boolean;
  /** Functions that the model may call. */
  readonly tools?: readonly unknown[];
}

export interface TemplateTexts {
  /** With `{instruction}`. */
  readonly withoutInput: string;
  /** With `{instruction}` and `{input}`, for records with an input. Default: the input on a line of its own after the instruction. */
  readonly withInput?: string;
}

const TEXTS: OptionNames<TemplateTexts> = { withoutInput: true, withInput: true };

/** A template from texts with placeholders. */
export function textTemplate(
  name: string,
  texts: TemplateTexts,
  more: { readonly evaluation?: TemplateTexts; readonly stop?: string } = {},
): PromptTemplate {
  assertKnownOptions('textTemplate', more, { evaluation: true, stop: true });
  const { evaluation, stop } = more;
  for (const one of [texts, evaluation]) if (one) assertKnownOptions('textTemplate', one, TEXTS);
  return {
    name,
    prompt: (fields) => fill(texts, fields),
    ...(evaluation === undefined ? {} : { evaluationPrompt: (fields: PromptFields) => fill(evaluation, fields) }),
    ...(stop === undefined ? {} : { stop }),
  };
}

/** All in one pass, so that an instruction may itself contain `{input}` or `$&`. */
function fill({ withoutInput, withInput }: TemplateTexts, { instruction, input }: PromptFields): string {
  const joined = input !== '' && withInput === undefined ? `${instruction}\n${input}` : instruction;
  const text = input === '' ? withoutInput : (withInput ?? withoutInput);
  return text.replace(/\{(instruction|input)\}/g, (_, field) => (field === 'input' ? input : joined));
}

const TASK = 'Below is an instruction that describes a task';
const WITH_INPUT = ', paired with an input that provides further context';
const REQUEST = '. Write a response that appropriately completes the request.';
/** Upstream's prompts are indented as their Python source is, and the models have learned so. */
const INDENT = ' '.repeat(16);

/** A prompt laid out as upstream's: what follows `request.`, and what the lines between the parts hold. */
function indented(afterRequest: string, blankLine: string): TemplateTexts {
  const layout = (opening: string, parts: readonly (readonly [string, string])[]) =>
    `${opening}${REQUEST}${afterRequest}\n\n${parts
      .map(([title, text]) => `${INDENT}### ${title}:\n${INDENT}${text}`)
      .join(`\n${blankLine}\n`)}`;
  const [instruction, input, response] = [
    ['Instruction', '{instruction}'],
    ['Input', '{input}'],
    ['Response', ''],
  ] as const;
  return {
    withoutInput: layout(TASK, [instruction, response]),
    withInput: layout(`${TASK}${WITH_INPUT}`, [instruction, input, response]),
  };
}

/**
 * Upstream's: in training that of `generate_prompt_math10k` and `generate_prompt_csr170k` (spft/data.py), in evaluation that of
 * spft/test/main.py, which differs in its blanks. Upstream drops `input`, which is empty in its datasets; here it gets LLM-Adapters' variant.
 */
export const SPARSELORA_TEMPLATE: PromptTemplate = textTemplate('sparselora', indented('  ', INDENT), {
  evaluation: indented(' ', ''),
  stop: '### Response:',
});

/** Stanford Alpaca's, with a line break before the response (upstream's `template_wo_input`, spft/utils/data.py); the same in evaluation. */
export const ALPACA_TEMPLATE: PromptTemplate = textTemplate(
  'alpaca',
  {
    withoutInput: `${TASK}${REQUEST}\n\n### Instruction:\n{instruction}\n\n### Response:\n`,
    withInput: `${TASK}${WITH_INPUT}${REQUEST}\n\n### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n`,
  },
  { stop: '### Response:' },
);

/** The instruction and nothing else. */
export const PLAIN_TEMPLATE: PromptTemplate = textTemplate('plain', {
  withoutInput: '{instruction}\n',
  withInput: '{instruction}\n{input}\n',
});

const registry = new Map([SPARSELORA_TEMPLATE, ALPACA_TEMPLATE, PLAIN_TEMPLATE].map((t) => [t.name, t] as const));

/**
 * Makes a template known by its name.
 * @throws RangeError when the name is taken.
 */
export function registerPromptTemplate(template: PromptTemplate): void {
  if (registry.has(template.name)) {
    throw new RangeError(
      `registerPromptTemplate: there is a template '${template.name}' already; give yours another name`,
    );
  }
  registry.set(template.name, template);
}

export function promptTemplateNames(): string[] {
  return [...registry.keys()];
}

/**
 * The template of a name; a template is its own.
 * @throws RangeError when no template has that name.
 */
export function promptTemplate(template: string | PromptTemplate = SPARSELORA_TEMPLATE): PromptTemplate {
  if (typeof template !== 'string') return template;
  const found = registry.get(template);
  if (found !== undefined) return found;
  const near = nearestName(template, promptTemplateNames());
  throw new RangeError(
    `there is no prompt template '${template}'${near === null ? '' : `; did you mean '${near}'?`} (known: ${promptTemplateNames().join(', ')}; registerPromptTemplate adds one)`,
  );
}
