/**
 * @file SentencePiece's pairs and tokenizer.json's: the former joins, of all neighbours whose joined text is a token, those whose token has the highest
 * score; the latter has a list of pairs by rank. They are the same where every way to make a token is in the list, in the order of the tokens' scores.
 */
import { TOKEN_TYPE } from './token-types.js';

/** SentencePiece's sign for a space. */
export const SPACE = '▁';

/** Work that is given to a file: the lengths of its tokens squared. A model's vocabulary takes some ten million. */
const MOST_WORK = 1e9;

/**
 * Every pair of tokens that makes a token, by descending score of what it makes; pairs that make the same by their parts' ids, as transformers'
 * `generate_merges` has them.
 * @returns null where tokens are so long that this would take minutes.
 */
export function mergesOfScores(
  tokens: readonly string[],
  types: ArrayLike<number>,
  scores: ArrayLike<number>,
): [string, string][] | null {
  if (tokens.reduce((work, token) => work + token.length ** 2, 0) > MOST_WORK) return null;
  const ids = new Map<string, number>();
  tokens.forEach((token, id) => {
    if (types[id] === TOKEN_TYPE.normal) ids.set(token, id);
  });
  const merges: { left: number; right: number; made: number }[] = [];
  for (const [token, made] of ids) {
    const points = Array.from(token);
    let left = '';
    for (let cut = 1; cut < points.length; cut++) {
      left += points[cut - 1];
      const [a, b] = [ids.get(left), ids.get(token.slice(left.length))];
      if (a !== undefined && b !== undefined) merges.push({ left: a, right: b, made });
    }
  }
  merges.sort((x, y) => scores[y.made]! - scores[x.made]! || x.made - y.made || x.left - y.left || x.right - y.right);
  return merges.map(({ left, right }) => [tokens[left]!, tokens[right]!]);
}

/**
 * Scores by which SentencePiece joins what these merges join, in their order: the rank of the first merge that makes a token, negated; tokens that no
 * merge makes come last.
 * @returns null where no scores do: a pair of tokens that makes a token is missing, or those that make one token do not follow each other.
 */
export function scoresOfMerges(
  tokens: readonly string[],
  types: ArrayLike<number>,
  merges: readonly (readonly [string, string])[],
): Float32Array | null {
  const last = -merges.length - 1;
  const scores = new Float32Array(tokens.length).fill(last);
  const ids = new Map(tokens.map((token, id) => [token, id]));
  let previous: number | undefined;
  let rank = 0;
  for (const [left, right] of merges) {
    const made = ids.get(left + right);
    if (made === undefined) return null;
    if (made !== previous) {
      if (scores[made] !== last) return null;
      scores[made] = 0 - rank++;
    }
    previous = made;
  }
  const all = mergesOfScores(tokens, types, scores);
  const given = new Set(merges.map((pair) => pair.join('\0')));
  return all !== null && all.length === given.size && all.every((pair) => given.has(pair.join('\0'))) ? scores : null;
}
