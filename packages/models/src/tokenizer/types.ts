/** @file What this project needs of a tokenizer; anything that has it will do. */

export interface EncodeOptions {
  /** Add what the tokenizer puts around a text, e.g. the token of its beginning. Default true, as in transformers. */
  readonly addSpecialTokens?: boolean;
}

export interface DecodeOptions {
  /** Leave out special tokens. Default false, as in transformers. */
  readonly skipSpecialTokens?: boolean;
}

/** One message of a chat. Other keys (`name`, `tool_calls`, …) reach the template too. */
export interface ChatMessage {
  readonly role: string;
  readonly content: string;
  readonly [key: string]: unknown;
}

export interface ChatTemplateOptions {
  /** End with what begins an answer of the assistant. Default false. */
  readonly addGenerationPrompt?: boolean;
  /** Name of one of the tokenizer's templates, or a Jinja template of your own. Default: the one called `default`, or the only one. */
  readonly template?: string;
  /** Further variables of the template, e.g. `tools` or `date_string`. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

export interface Tokenizer {
  /** Highest token id + 1: what the model's embedding must have rows for. */
  readonly vocabSize: number;
  readonly bosTokenId: number | null;
  readonly eosTokenId: number | null;
  /** The padding token; where there is none, the end of text. Batches here have no padding: it only matters to others. */
  readonly padTokenId: number | null;
  /** The chat templates by name; a single one is called `default`. */
  readonly chatTemplates: ReadonlyMap<string, string>;
  encode(text: string, options?: EncodeOptions): number[];
  /** Ids that no token has are left out, as in transformers. */
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string;
  /** Id of a token by its exact text, or undefined. */
  tokenId(token: string): number | undefined;
  /**
   * The chat as one text. Encode it with `addSpecialTokens: false`: the template writes them.
   * @throws ModelError when there is no template, or it refuses these messages.
   */
  applyChatTemplate(messages: readonly ChatMessage[], options?: ChatTemplateOptions): string;
}
