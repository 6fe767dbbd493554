/**
 * @file A tokenizer's files as a GGUF file's metadata (`_set_vocab_gpt2` and `_set_vocab_llama_hf` of convert_hf_to_gguf.py). What was made is read again
 * and compared with the tokenizer itself, as llama.cpp has its own idea of how texts are cut.
 */
import { bool, float32s, int32s, Metadata, type MetadataValue, string, strings, uint32 } from '@spft/gguf';
import { showValue } from '@spft/safetensors';
import { ModelError } from '../errors.js';
import { configOf, type TokenizerConfig } from '../tokenizer/config.js';
import { checkVocabulary, createTokenizer, type TokenizerFiles } from '../tokenizer/hugging-face-tokenizer.js';
import { type Pipeline, pipelineOf } from '../tokenizer/pipeline/index.js';
import { addTokens } from '../tokenizer/token-sources.js';
import type { Tokenizer } from '../tokenizer/types.js';
import { PRE_TOKENIZER_NAMES, preTokenizerOfJson } from './pre-tokenizers.js';
import { SPACE, scoresOfMerges } from './sentencepiece.js';
import { TOKEN_TYPE } from './token-types.js';
import { tokenizerOfGguf } from './tokenizer-of-gguf.js';

type Json = Readonly<Record<string, unknown>>;

export interface TokenizerMetadata {
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  /** What llama.cpp does otherwise than the tokenizer. */
  readonly notices: readonly string[];
}

/**
 * @param rows of the embedding: as many tokens are written.
 * @param ends ids that end a text, of the model's config.
 * @throws ModelError when llama.cpp has no such tokenizer.
 */
export function ggufOfTokenizer(files: TokenizerFiles, rows: number, ends: readonly number[]): TokenizerMetadata {
  const tokenizer = createTokenizer(files);
  checkVocabulary(tokenizer, rows);
  const config = configOf(files.config, files.specialTokensMap);
  const json = files.tokenizer as Json;
  const pipeline = pipelineOf(json, {
    more: (known) => addTokens(config, files.addedTokens, known),
    splitsSpecial: config.splitsSpecialTokens,
  });
  const model = (json.model ?? {}) as Json;
  const metadata = new Map<string, MetadataValue>();
  const add = (key: string, value: MetadataValue) => metadata.set(`tokenizer.ggml.${key}`, value);
  const isSentencePiece = model.byte_fallback === true;
  const { tokens, types } = vocabulary(
    pipeline,
    rows,
    isSentencePiece ? (config.named.unk_token ?? model.unk_token) : undefined,
  );
  const notices: string[] = [];
  if (isSentencePiece) {
    const prefix = spacePrefix(json, notices);
    const scores = scoresOfMerges(tokens, types, mergesOf(model));
    if (scores === null)
      refuse(
        "model.merges: are not all the pairs that make its tokens, in their order, as SentencePiece's are; llama.cpp would join others",
      );
    add('model', string('llama'));
    add('pre', string('default'));
    add('tokens', strings(tokens));
    add('scores', float32s(scores));
    add('token_type', int32s(types));
    add('add_space_prefix', bool(prefix));
  } else {
    const pre = preTokenizerOfJson(json.pre_tokenizer, model.ignore_merges === true);
    if (pre === undefined) {
      refuse(
        `pre_tokenizer: llama.cpp is not known to cut texts as ${showValue(json.pre_tokenizer, 300)} does${model.ignore_merges === true ? ' with ignore_merges' : ''}; known are its ${PRE_TOKENIZER_NAMES}`,
      );
    }
    if (json.normalizer != null) {
      const { type } = json.normalizer as Json;
      if (type !== 'NFC')
        refuse(`normalizer: llama.cpp has none for byte-level vocabularies, found ${showValue(json.normalizer)}`);
      notices.push(
        'llama.cpp does not bring texts into the form NFC, as this tokenizer does: characters that are composed of several may be other tokens there',
      );
    }
    add('model', string('gpt2'));
    add('pre', string(pre.name));
    add('tokens', strings(tokens));
    add('token_type', int32s(types));
    add('merges', strings(mergesOf(model).map((pair) => pair.join(' '))));
  }
  for (const [key, value] of specialIds(tokenizer, config, pipeline, ends)) add(key, uint32(value));
  const [addsBos, addsEos] = around(tokenizer);
  add('add_bos_token', bool(addsBos));
  add('add_eos_token', bool(addsEos));
  for (const [key, value] of templates(tokenizer)) metadata.set(key, value);
  if ([...pipeline.added.byId.values()].some((token) => token.lstrip || token.rstrip || token.singleWord)) {
    notices.push(
      'some added tokens take blanks beside them, or stand as whole words alone (lstrip, rstrip, single_word), which llama.cpp does not heed',
    );
  }
  requireSame(tokenizer, metadata);
  return { metadata, notices };
}

function vocabulary(pipeline: Pipeline, rows: number, unknown: unknown): { tokens: string[]; types: Int32Array } {
  const types = new Int32Array(rows);
  const tokens = Array.from({ length: rows }, (_, id) => {
    const token = pipeline.tokenOf(id);
    const added = pipeline.added.byId.get(id);
    if (token === undefined) types[id] = TOKEN_TYPE.unused;
    else if (unknown !== undefined && token === unknown) types[id] = TOKEN_TYPE.unknown;
    else if (added) types[id] = added.special ? TOKEN_TYPE.control : TOKEN_TYPE.userDefined;
    else if (unknown !== undefined && /^<0x[0-9A-F]{2}>$/.test(token)) types[id] = TOKEN_TYPE.byte;
    else types[id] = TOKEN_TYPE.normal;
    return token ?? `[PAD${id}]`;
  });
  return { tokens, types };
}

function mergesOf(model: Json): [string, string][] {
  return ((model.merges ?? []) as readonly (string | [string, string])[]).map((merge) =>
    typeof merge === 'string' ? (merge.split(' ') as [string, string]) : merge,
  );
}

/** Whether a blank is put before a text. @throws ModelError where a text is prepared otherwise than SentencePiece does. */
function spacePrefix({ normalizer, pre_tokenizer: pre }: Json, notices: string[]): boolean {
  const parts = (value: unknown, list: string): readonly Json[] => {
    if (value == null) return [];
    const json = value as Json;
    return json.type === 'Sequence' ? (json[list] as readonly Json[]) : [json];
  };
  const [normalizers, cuts] = [parts(normalizer, 'normalizers'), parts(pre, 'pretokenizers')];
  const replaces = (part: Json | undefined) =>
    part?.type === 'Replace' && part.content === SPACE && (part.pattern as Json | undefined)?.String === ' ';
  if (cuts.length === 0 && normalizers.length === 1 && replaces(normalizers[0])) return false;
  if (cuts.length === 0 && normalizers.length === 2 && normalizers[0]?.type === 'Prepend' && replaces(normalizers[1]))
    return true;
  const [cut] = cuts;
  if (
    normalizers.length === 0 &&
    cuts.length === 1 &&
    cut?.type === 'Metaspace' &&
    (cut.replacement ?? SPACE) === SPACE
  ) {
    const scheme = cut.prepend_scheme ?? (cut.add_prefix_space === false ? 'never' : 'always');
    if (scheme === 'first')
      notices.push(
        'llama.cpp puts a blank behind every special token, this tokenizer at the beginning of a text alone',
      );
    return scheme !== 'never';
  }
  return refuse(
    `normalizer and pre_tokenizer: wanted those of a SentencePiece model, found ${showValue(normalizer, 150)} and ${showValue(pre, 150)}`,
  );
}

function* specialIds(
  tokenizer: Tokenizer,
  { named }: TokenizerConfig,
  { idOf }: Pipeline,
  ends: readonly number[],
): Generator<[string, number]> {
  const { bosTokenId: bos, eosTokenId: eos } = tokenizer;
  if (bos !== null) yield ['bos_token_id', bos];
  if (eos !== null) yield ['eos_token_id', eos];
  // Instruct models end a turn by another token than a text.
  const other = ends.find((id) => id !== eos);
  if (other !== undefined) yield [eos === null ? 'eos_token_id' : 'eot_token_id', other];
  for (const [key, name] of [
    ['unknown_token_id', 'unk_token'],
    ['padding_token_id', 'pad_token'],
  ] as const) {
    const id = named[name] === undefined ? undefined : idOf(named[name]);
    if (id !== undefined) yield [key, id];
  }
}

/** What is put around a text: llama.cpp can put the begin and the end token. @throws ModelError where it is more. */
function around(tokenizer: Tokenizer): readonly [bos: boolean, eos: boolean] {
  const [bare, whole] = [tokenizer.encode('a', { addSpecialTokens: false }), tokenizer.encode('a')];
  const { bosTokenId: bos, eosTokenId: eos } = tokenizer;
  for (const [addsBos, addsEos] of [
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ] as const) {
    const made = [...(addsBos ? [bos] : []), ...bare, ...(addsEos ? [eos] : [])];
    if (`${made}` === `${whole}`) return [addsBos, addsEos];
  }
  return refuse(
    `post_processor: puts the tokens ${whole} around the text ${bare}; llama.cpp can put begin (${bos}) and end (${eos}) alone`,
  );
}

function* templates({ chatTemplates }: Tokenizer): Generator<[string, MetadataValue]> {
  const named = [...chatTemplates].filter(([name]) => name !== 'default');
  const first = chatTemplates.get('default') ?? (named.length === 1 ? named[0]![1] : undefined);
  if (first !== undefined) yield ['tokenizer.chat_template', string(first)];
  if (named.length === 0) return;
  yield ['tokenizer.chat_templates', strings(named.map(([name]) => name))];
  for (const [name, template] of named) yield [`tokenizer.chat_template.${name}`, string(template)];
}

/** Texts in which tokenizers differ that differ at all. */
const TEXTS = [
  'The quick brown fox jumps over the lazy dog.',
  "I'm sure they'll say it's 12345 or 3.14159, won't THEY'VE?",
  '  two blanks,\ta tab\n\n\nand   lines  \r\n end ',
  'Füße, naïve, 日本語のテキスト, русский, العربية, हिन्दी, 🙂👍🏽',
  'def f(x):\n    return {"a": [x**2, x//3]}  # $5.00 & <tag>\n',
  '',
];

function requireSame(tokenizer: Tokenizer, metadata: ReadonlyMap<string, MetadataValue>): void {
  const again = createTokenizer(tokenizerOfGguf(new Metadata(metadata), 'the exported tokenizer'));
  for (const text of TEXTS) {
    const [wanted, found] = [tokenizer.encode(text), again.encode(text)];
    if (`${wanted}` !== `${found}`) {
      refuse(
        `${JSON.stringify(text)} is ${wanted.slice(0, 40)} by the tokenizer and would be ${found.slice(0, 40)} in llama.cpp; it cannot be exported`,
      );
    }
  }
}

function refuse(problem: string): never {
  throw new ModelError(`the tokenizer cannot be written as GGUF: tokenizer.json: ${problem}`);
}
