/**
 * @file How many of a text's tokens lie before a place in it, found by encoding alone. Decoded text tells nothing here: tokenizers normalise,
 * drop blanks at the beginning, and put U+FFFD where a character is cut.
 */

/** Characters before the place that are looked at for an end of a token: pieces that are merged are hardly ever longer. */
const REACH = 64;

export interface TokenPosition {
  /** Tokens that end at the place or before it, as far as can be told. */
  readonly count: number;
  /** Whether one ends at the place itself. */
  readonly isExact: boolean;
}

/**
 * @param encode gives the ids of a beginning of the text, with what is put before a text and without what is put behind.
 * @param ids of the whole text.
 * @param position in UTF-16 units.
 */
export function tokensBefore(
  encode: (text: string) => readonly number[],
  ids: readonly number[],
  text: string,
  position: number,
): TokenPosition {
  const whole = encode(text.slice(0, position));
  const shared = commonTokens(whole, ids);
  if (shared === whole.length) return { count: shared, isExact: true };
  // A shorter beginning whose tokens are all those of the whole text ends where one of its tokens does.
  for (let at = position - 1; at >= Math.max(0, position - REACH); at--) {
    if (/^[\udc00-\udfff]$/.test(text[at] ?? '')) continue;
    const before = encode(text.slice(0, at));
    if (commonTokens(before, ids) === before.length) return { count: Math.max(before.length, shared), isExact: false };
  }
  return { count: shared, isExact: false };
}

function commonTokens(a: readonly number[], b: readonly number[]): number {
  let common = 0;
  while (common < a.length && common < b.length && a[common] === b[common]) common++;
  return common;
}

/** How many characters two texts have in common from the start. */
export function commonLength(a: string, b: string): number {
  let length = 0;
  while (length < a.length && length < b.length && a.charCodeAt(length) === b.charCodeAt(length)) length++;
  return length;
}
