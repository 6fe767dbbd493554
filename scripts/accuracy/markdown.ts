/** @file Tables of the study's pages. */

export const percent = (share: number) => (100 * share).toFixed(1);

/** A table, its first two columns words and the others numbers. */
export function markdown(head: readonly string[], lines: readonly (readonly string[])[]): string {
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [row(head), row(head.map((_, n) => (n < 2 ? '---' : '--:'))), ...lines.map(row)].join('\n');
}
