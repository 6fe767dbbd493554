/** @file The names that someone may have meant. */
import { distance } from 'fastest-levenshtein';

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
