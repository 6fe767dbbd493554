/** @file A row of a dataset's file, and the parsing of one. */

/** A row, or why it is none. */
export interface Row {
  readonly line: number;
  readonly value?: unknown;
  readonly problem?: string;
}

export function parsed(text: string): { value: unknown } | { problem: string } {
  try {
    return { value: JSON.parse(text) };
  } catch (cause) {
    return { problem: `is no valid JSON (${(cause as Error).message.slice(0, 120)})` };
  }
}
