/**
 * @file Regular expressions written for Python's `re`, as adapter_config.json has them: what the two languages spell differently is
 * translated, what JavaScript lacks fails.
 */
import { AdapterError } from './errors.js';

export class PythonRegExp {
  /** Anchored at the start only, as `re.match`. */
  readonly atStart: RegExp;
  private readonly whole: RegExp;

  /** @throws AdapterError naming `field` when it is no valid expression. */
  constructor(source: string, field: string) {
    const flags = /^\(\?([ims]+)\)/.exec(source);
    const body = source
      .slice(flags?.[0].length ?? 0)
      .replaceAll('(?P<', '(?<')
      .replace(/\(\?P=(\w+)\)/g, '\\k<$1>')
      .replaceAll('\\A', '^')
      .replaceAll('\\Z', '$');
    try {
      this.whole = new RegExp(`^(?:${body})$`, flags?.[1]);
      this.atStart = new RegExp(`^(?:${body})`, flags?.[1]);
    } catch (cause) {
      throw new AdapterError(`${field}: '${source}' is no regular expression: ${(cause as Error).message}`, cause);
    }
  }

  /** As `re.fullmatch`. */
  fullMatch(text: string): boolean {
    return this.whole.test(text);
  }
}
