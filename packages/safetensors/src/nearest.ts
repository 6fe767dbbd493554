/** @file The names that someone may have meant. By a dozen lines, as a library for them would be a dependency of every package. */

/** Letters to change, add or drop to make one name of the other (Levenshtein's distance). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, n) => n);
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) {
      next.push(Math.min(row[j]! + (a[i] === b[j] ? 0 : 1), row[j + 1]! + 1, next[j]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}

/** The candidates most like `name`, best first, at most `count`; of equally like ones the earlier first. Any distance. */
export function nearestNames(name: string, candidates: readonly string[], count: number): string[] {
  return candidates
    .map((candidate, order) => ({ candidate, order, away: distance(name.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.away - b.away || a.order - b.order)
    .slice(0, count)
    .map(({ candidate }) => candidate);
}

/** The candidate that `name` is probably a misspelling of: at most a third of its letters differ. */
export function nearestName(name: string, candidates: readonly string[]): string | null {
  const best = nearestNames(name, candidates, 1)[0];
  const isNear = best !== undefined && distance(name.toLowerCase(), best.toLowerCase()) <= Math.max(2, name.length / 3);
  return isNear ? best : null;
}
