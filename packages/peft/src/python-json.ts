/** @file JSON as Python's `json.dumps(value, indent=2, sort_keys=True)` writes it, so that a file that PEFT wrote stays the same bytes. */

/** A number that Python holds as a float, written with a point or an exponent. */
export class PythonFloat {
  constructor(readonly value: number) {}

  /** As Python's `repr`: exponents below 1e-4 and from 1e16, of two digits at least. */
  toString(): string {
    const { value } = this;
    const magnitude = Math.abs(value);
    if (value !== 0 && (magnitude < 1e-4 || magnitude >= 1e16)) {
      return value.toExponential().replace(/e([+-])(\d)$/, 'e$10$2');
    }
    return Number.isInteger(value) ? `${value}.0` : String(value);
  }
}

export function pythonJson(value: unknown, indent = ''): string {
  if (value instanceof PythonFloat) return value.toString();
  if (value === null || value === undefined) return 'null';
  if (typeof value === 'number') return Number.isSafeInteger(value) ? String(value) : new PythonFloat(value).toString();
  if (typeof value !== 'object') return quote(value);
  const inner = `${indent}  `;
  const [open, close, items] = Array.isArray(value)
    ? ['[', ']', value.map((item) => pythonJson(item, inner))]
    : [
        '{',
        '}',
        Object.entries(value)
          .filter(([, item]) => item !== undefined)
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .map(([key, item]) => `${quote(key)}: ${pythonJson(item, inner)}`),
      ];
  return items.length === 0 ? open + close : `${open}\n${inner}${items.join(`,\n${inner}`)}\n${indent}${close}`;
}

/** A string with everything outside ASCII escaped, or a boolean. */
function quote(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\u0080-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
