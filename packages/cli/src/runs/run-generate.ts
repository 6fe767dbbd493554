/** @file Generation from the command line: one prompt streamed, lines in batches, or a conversation. */
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { type ChatMessage, type GenerateOptions, generate, type Tokenizer } from '@spft/models';
import type { PeftModel } from '@spft/peft';
import { type PromptTemplate, tokenizePrompt } from '@spft/trainer';
import { CliError } from '../errors.js';
import { loadAdapter } from '../steps/attach-adapter.js';
import { locateAdapter } from '../steps/locate-repo.js';
import { openBackend } from '../steps/open-backend.js';
import { type OpenedModel, openModel, trainedPositions } from '../steps/open-model.js';
import { chooseTemplate, NO_TEMPLATE, openTemplate } from '../steps/template.js';
import type { Output } from '../terminal/output.js';

export interface GenerateRequest {
  readonly modelNameOrPath: string;
  readonly adapter?: string;
  /** Lines of stdin when not given. */
  readonly prompt?: string;
  readonly chat?: boolean;
  /** Prompt template around each text; default: the one that the adapter was trained with, else none. */
  readonly template?: string;
  readonly maxNewTokens?: number;
  /** 0, the default, takes the likeliest token. */
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly seed?: number;
  readonly batchSize?: number;
  readonly revision?: string;
  readonly allowOtherBase?: boolean;
  readonly backend?: string;
}

export async function runGenerate(request: GenerateRequest, output: Output): Promise<void> {
  const { prompt, chat = false } = request;
  if (prompt === '') throw new CliError('--prompt is empty; give a text, or leave it out to read lines from stdin');
  if (request.template !== undefined && chat) {
    throw new CliError('--template and --chat are two ways to make a prompt; give one');
  }
  // `spft generate … | head`: whoever reads has had enough.
  output.io.onReaderGone?.(() => process.exit(0));
  const adapter = request.adapter === undefined ? undefined : await locateAdapter(request.adapter, output);
  const choice = chat ? NO_TEMPLATE : await chooseTemplate(request.template, adapter, NO_TEMPLATE);
  await openBackend(request.backend, output);
  const opened = await openModel(request.modelNameOrPath, output, { revision: request.revision });
  let peft: PeftModel | null = null;
  try {
    peft =
      adapter === undefined
        ? null
        : await loadAdapter(opened, adapter, output, { allowOtherBase: request.allowOtherBase });
    // Merged it computes the same, faster; the base is ours alone.
    peft?.merge({ reversible: false });
    const writer = new Writer(opened, openTemplate(choice, opened.tokenizer), request, output);
    if (chat) await writer.chat(prompt);
    else if (prompt !== undefined) await writer.stream(writer.encode(prompt));
    else await writer.lines(request.batchSize ?? 8);
  } finally {
    peft?.dispose();
    opened.model.dispose();
  }
}

class Writer {
  readonly #tokenizer: Tokenizer;
  readonly #options: Omit<GenerateOptions, 'onToken'>;
  #isWarned = false;

  constructor(
    readonly opened: OpenedModel,
    readonly template: PromptTemplate,
    request: GenerateRequest,
    readonly output: Output,
  ) {
    const { temperature, topP, topK, seed = 0, maxNewTokens = 256 } = request;
    this.#tokenizer = opened.tokenizer;
    const doSample = temperature === undefined ? topP !== undefined || topK !== undefined : temperature > 0;
    if (!doSample && (topP !== undefined || topK !== undefined))
      output.warn('top_p and top_k have no effect: at temperature 0 the likeliest token is taken each time');
    const { eosTokenIds } = opened.model.config;
    const eos = opened.tokenizer.eosTokenId;
    this.#options = {
      maxNewTokens,
      seed,
      eosTokenIds: [...new Set([...eosTokenIds, ...(eos === null ? [] : [eos])])],
      doSample,
      ...(doSample ? { temperature: temperature ?? 1, topP, topK } : {}),
    };
  }

  encode(text: string): number[] {
    return this.#checked(tokenizePrompt(this.#tokenizer, { instruction: text, input: '' }, this.template));
  }

  /** Continues one prompt, writing as it comes. @returns the whole text. */
  async stream(prompt: readonly number[]): Promise<string> {
    const ids: number[] = [];
    let written = '';
    const { stdout } = this.output.io;
    const show = (isEnd: boolean) => {
      const text = this.#text(ids);
      // The last character may yet be completed by the next token's bytes.
      const whole = isEnd ? text : text.replace(/\uFFFD+$/, '');
      if (whole.startsWith(written)) stdout.write(whole.slice(written.length));
      written = whole;
    };
    await generate(this.opened.model, [prompt], {
      ...this.#options,
      onToken: ({ token }) => {
        ids.push(token);
        show(false);
      },
    });
    show(true);
    stdout.write('\n');
    this.#warnBeyond(prompt.length + ids.length);
    return written;
  }

  /** Answers each line of stdin on a line of its own, line breaks within it written as `\n`. */
  async lines(batchSize: number): Promise<void> {
    let [batch, count] = [[] as string[], 0];
    if (this.output.io.stdin.isTTY) this.output.note('prompts from the terminal, one a line; Ctrl-D ends them');
    const answer = async () => {
      const prompts = batch.map((line) => this.encode(line));
      const answers = await generate(this.opened.model, prompts, {
        ...this.#options,
        seed: this.#options.seed! + count,
      });
      for (const ids of answers) this.output.print(this.#text(ids).replaceAll('\n', '\\n'));
      this.#warnBeyond(Math.max(...answers.map((ids, n) => prompts[n]!.length + ids.length)));
      count += batch.length;
      batch = [];
    };
    for await (const line of this.#stdin()) {
      if (line.trim() === '') continue;
      batch.push(line);
      if (batch.length === batchSize) await answer();
    }
    if (batch.length > 0) await answer();
    if (count === 0) throw new CliError('there is no prompt: give --prompt TEXT, or lines on stdin');
  }

  async chat(first: string | undefined): Promise<void> {
    const messages: ChatMessage[] = [];
    const turn = async (content: string) => {
      messages.push({ role: 'user', content });
      const text = this.#tokenizer.applyChatTemplate(messages, { addGenerationPrompt: true });
      const answer = await this.stream(this.#checked(this.#tokenizer.encode(text, { addSpecialTokens: false })));
      messages.push({ role: 'assistant', content: answer });
    };
    if (first !== undefined) {
      await turn(first);
      return;
    }
    const isTerminal = this.output.io.stdin.isTTY === true;
    const ask = () => void (isTerminal && this.output.io.stderr.write('> '));
    ask();
    for await (const line of this.#stdin()) {
      if (line.trim() !== '') await turn(line);
      ask();
    }
    if (messages.length === 0) throw new CliError('there is no message: give --prompt TEXT, or lines on stdin');
  }

  #checked(ids: number[]): number[] {
    if (ids.length > 0) return ids;
    const { bosTokenId } = this.#tokenizer;
    if (bosTokenId !== null) return [bosTokenId];
    throw new CliError('the prompt has no token, and the tokenizer no token for the beginning; give a longer prompt');
  }

  /** Says once that a text has gone on where the model knows no positions, and means little there. */
  #warnBeyond(length: number): void {
    const positions = trainedPositions(this.opened.model);
    if (length <= positions || this.#isWarned) return;
    this.#isWarned = true;
    this.output.warn(
      `prompt and answer have ${length} tokens, and the model was trained on ${positions} positions (max_position_embeddings): it does not know those beyond`,
    );
  }

  /** Up to the end token and the template's stop. */
  #text(ids: readonly number[]): string {
    const end = ids.findIndex((id) => this.#options.eosTokenIds!.includes(id));
    const text = this.#tokenizer.decode(end < 0 ? ids : ids.slice(0, end), { skipSpecialTokens: true });
    const { stop } = this.template;
    return stop === undefined ? text : text.split(stop)[0]!;
  }

  #stdin(): AsyncIterable<string> {
    return createInterface({ input: Readable.from(this.output.io.stdin), crlfDelay: Infinity });
  }
}
