/**
 * @file A value of a foreign JSON file as a message shows it. `JSON.stringify` runs out of stack on deep values and out of memory on large
 * ones, and both come from files that somebody else wrote.
 */

const MAX_DEPTH = 5;

/** The value as JSON, cut to about `limit` characters and a few levels; `nothing` for undefined. Never throws. */
export function showValue(value: unknown, limit = 80): string {
  if (value === undefined) return 'nothing';
  const parts: string[] = [];
  const room = { left: limit };
  write(value, 0, parts, room);
  const text = parts.join('');
  return text.length > limit ? `${text.slice(0, limit)}…` : text;
}

function write(value: unknown, depth: number, parts: string[], room: { left: number }): void {
  const put = (text: string): void => {
    parts.push(text);
    room.left -= text.length;
  };
  if (typeof value === 'string') {
    put(JSON.stringify(value.slice(0, room.left + 1)));
    return;
  }
  if (typeof value !== 'object' || value === null) {
    put(Object.is(value, -0) ? '-0' : typeof value === 'bigint' ? `${value}n` : String(value));
    return;
  }
  const isArray = Array.isArray(value);
  if (depth >= MAX_DEPTH) {
    put(isArray ? '[…]' : '{…}');
    return;
  }
  put(isArray ? '[' : '{');
  let first = true;
  // A loop over keys and not Object.entries: what is beyond the limit is not copied first.
  for (const key in value) {
    if (!Object.hasOwn(value, key)) continue;
    if (room.left < 0) break;
    if (!first) put(',');
    first = false;
    if (!isArray) put(`${JSON.stringify(key.slice(0, room.left + 1))}:`);
    write((value as Record<string, unknown>)[key], depth + 1, parts, room);
  }
  put(isArray ? ']' : '}');
}
