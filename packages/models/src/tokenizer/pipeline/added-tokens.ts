/**
 * @file Tokens that stand in a text as they are: found before the model sees it, the leftmost and of several there the longest, with the
 * conditions of the Rust library (`single_word`, `lstrip`, `rstrip`, `normalized`).
 */
import { ModelError } from '../../errors.js';
import type { Normalizer } from './normalizers.js';
import { Fields, isSpace, isTokenId, refuse, WORD } from './reading.js';

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly singleWord: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  /** Looked for in the normalized text. */
  readonly normalized: boolean;
  readonly special: boolean;
}

/** One of tokenizer.json's `added_tokens`, or of another file's list of them. @throws ModelError */
export function addedTokenOf(value: unknown, where: string, id?: number): AddedToken {
  const fields = new Fields(value, where);
  const special = fields.boolean('special', false);
  const found = id ?? fields.raw('id');
  if (!isTokenId(found)) refuse(`${where}.id`, 'a token id, a whole number, 0 or more', found);
  const token = {
    id: found as number,
    content: fields.string('content'),
    singleWord: fields.boolean('single_word', false),
    lstrip: fields.boolean('lstrip', false),
    rstrip: fields.boolean('rstrip', false),
    normalized: fields.boolean('normalized', !special),
    special,
  };
  fields.done();
  return token;
}

/** A stretch of a text: one of the tokens, or what is between them. */
export interface Stretch {
  readonly text: string;
  readonly token: AddedToken | null;
  readonly begin: number;
}

interface Node {
  readonly next: Map<string, Node>;
  token: AddedToken | null;
}

/** Finds tokens by their contents. */
export class TokenFinder {
  readonly #root: Node = { next: new Map(), token: null };

  /** @param contentOf what is looked for: the content, or what a normalizer makes of it. */
  constructor(tokens: Iterable<AddedToken>, contentOf: (token: AddedToken) => string = (token) => token.content) {
    for (const token of tokens) {
      const content = contentOf(token);
      if (content === '') continue;
      let node = this.#root;
      for (const c of content) {
        let next = node.next.get(c);
        if (next === undefined) {
          next = { next: new Map(), token: null };
          node.next.set(c, next);
        }
        node = next;
      }
      node.token = token;
    }
  }

  /** @param skip tokens that are ordinary text. */
  split(text: string, skip: (token: AddedToken) => boolean): Stretch[] {
    const stretches: Stretch[] = [];
    let done = 0;
    for (let at = 0; at < text.length; ) {
      const found = this.#longest(text, at);
      if (found === null) {
        at += text.codePointAt(at)! > 0xffff ? 2 : 1;
        continue;
      }
      const { token, end } = found;
      const begin = at;
      at = end;
      if (skip(token) || (token.singleWord && (endsInWord(text.slice(0, begin)) || beginsWithWord(text.slice(end)))))
        continue;
      let [from, to] = [begin, end];
      if (token.lstrip) while (from > done && isSpace(text[from - 1]!)) from--;
      if (token.rstrip) while (to < text.length && isSpace(text[to]!)) to++;
      if (from > done) stretches.push({ text: text.slice(done, from), token: null, begin: done });
      stretches.push({ text: text.slice(from, to), token, begin: from });
      done = to;
    }
    if (done < text.length) stretches.push({ text: text.slice(done), token: null, begin: done });
    return stretches;
  }

  #longest(text: string, start: number): { token: AddedToken; end: number } | null {
    let found: { token: AddedToken; end: number } | null = null;
    let node: Node | undefined = this.#root;
    for (let at = start; at < text.length; ) {
      const c = String.fromCodePoint(text.codePointAt(at)!);
      node = node.next.get(c);
      if (node === undefined) break;
      at += c.length;
      if (node.token) found = { token: node.token, end: at };
    }
    return found;
  }
}

const BEGINS = new RegExp(`^${WORD}`, 'u');
const beginsWithWord = (text: string) => BEGINS.test(text.slice(0, 2));
const ENDS = new RegExp(`${WORD}$`, 'u');
const endsInWord = (text: string) => ENDS.test(text.slice(-2));

/** Both searches that a text goes through: in the text as it is, then in what normalizing makes of the rest. */
export class AddedTokens {
  readonly #asIs: TokenFinder;
  readonly #normalized: TokenFinder;
  readonly byId = new Map<number, AddedToken>();
  readonly byContent = new Map<string, AddedToken>();

  constructor(
    tokens: readonly AddedToken[],
    private readonly normalize: Normalizer,
    /** Special tokens in a text are ordinary text (`split_special_tokens`). */
    private readonly splitsSpecial: boolean,
  ) {
    for (const token of tokens) {
      const other = this.byId.get(token.id);
      if (other && other.content !== token.content) {
        throw new ModelError(
          `tokenizer.json: added_tokens: '${token.content.slice(0, 60)}' and '${other.content.slice(0, 60)}' both have the id ${token.id}`,
        );
      }
      this.byId.set(token.id, token);
      this.byContent.set(token.content, token);
    }
    const all = [...this.byContent.values()];
    this.#asIs = new TokenFinder(all.filter((token) => !token.normalized));
    this.#normalized = new TokenFinder(
      all.filter((token) => token.normalized),
      (token) => normalize(token.content),
    );
  }

  /** Tokens, and normalized texts between them. */
  split(text: string): Stretch[] {
    const skip = (token: AddedToken) => this.splitsSpecial && token.special;
    return this.#asIs.split(text, skip).flatMap((stretch) => {
      if (stretch.token) return [stretch];
      return this.#normalized
        .split(this.normalize(stretch.text), skip)
        .map((inner) => ({ ...inner, begin: stretch.begin === 0 && inner.begin === 0 ? 0 : 1 }));
    });
  }
}
