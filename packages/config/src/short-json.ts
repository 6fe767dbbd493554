/** @file A value as a message shows it: JSON, cut short. It may be deep, huge or cyclic, as files and callers have it. */

/**
 * JSON of a value, at most `limit` characters of it and a `…`. Only what is shown is visited, so that neither the depth of a value nor its size
 * counts.
 */
export function shortJson(value: unknown, limit = 60): string {
  let text = '';
  const visit = (part: unknown): void => {
    if (text.length > limit) return;
    if (typeof part === 'string') {
      text += JSON.stringify(part.slice(0, limit + 1));
    } else if (Array.isArray(part)) {
      list('[', part.length, (n) => visit(part[n]), ']');
    } else if (typeof part === 'object' && part !== null) {
      const keys = Object.keys(part);
      const entry = (n: number) => {
        visit(keys[n]!);
        text += ':';
        visit((part as Record<string, unknown>)[keys[n]!]);
      };
      list('{', keys.length, entry, '}');
    } else {
      text += String(part);
    }
  };
  const list = (open: string, length: number, item: (n: number) => void, close: string) => {
    text += open;
    for (let n = 0; n < length && text.length <= limit; n++) {
      if (n > 0) text += ',';
      item(n);
    }
    text += close;
  };
  visit(value);
  return text.length > limit ? `${text.slice(0, Math.max(0, limit - 3))}…` : text;
}
