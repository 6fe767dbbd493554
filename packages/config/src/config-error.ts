/** @file What is wrong with a config: every problem with its place, in one error. */

/** One thing that is wrong. */
export interface ConfigProblem {
  /** File as it was named by the caller; null when the value came from a flag or an object. */
  readonly file: string | null;
  /** 1-based; null when unknown. */
  readonly line: number | null;
  /** Keys from the root to the value, or the flag as `--learning_rate`; empty for the file as a whole. */
  readonly path: readonly string[];
  /** What was wanted, what was found, and what to do. */
  readonly message: string;
}

/** A config that cannot be used. Nothing of it was applied. */
export class ConfigError extends Error {
  readonly code = 'SPFT_CONFIG';
  override readonly name = 'ConfigError';

  /** @param problems all that were found, at least one. */
  constructor(readonly problems: readonly ConfigProblem[]) {
    super(summary(problems));
  }
}

function summary(problems: readonly ConfigProblem[]): string {
  const lines = problems.map(formatProblem);
  return lines.length === 1 ? lines[0]! : [`${lines.length} problems:`, ...lines.map((line) => `  ${line}`)].join('\n');
}

/** `configs/x.yaml:7: learning_rate: expected a number, …`. */
export function formatProblem({ file, line, path, message }: ConfigProblem): string {
  const place = file === null ? '' : line === null ? `${file}: ` : `${file}:${line}: `;
  const key = path.length === 0 ? '' : `${path.join('.')}: `;
  return place + key + message;
}
