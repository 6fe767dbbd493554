/**
 * @file Options of library calls, by name. JavaScript, and TypeScript where an object is spread, passes a misspelt name on without a word, and the call would
 * have its default. Whatever takes options looks at their names once, before it does anything; what runs in every step does not. It is here
 * as all packages but those that stand alone depend on this one.
 */
import { nearestName } from './nearest.js';
import { showValue } from './show-value.js';

/** Every name of `T`, or of the members of a union: a table that the compiler holds to the type, so that none is missing and none too many. */
export type OptionNames<T> = Readonly<Record<T extends unknown ? keyof T & string : never, unknown>>;

/** A call was given an option that it does not know. */
export class UnknownOptionError extends TypeError {
  readonly code = 'SPFT_UNKNOWN_OPTION';
  override readonly name = 'UnknownOptionError';
}

/**
 * @param call the function's name, for the message.
 * @param options its options, as given: own names count, also those without a value.
 * @param names all that it knows.
 * @throws UnknownOptionError naming what is unknown, what was probably meant, and what there is.
 * @throws TypeError where `options` is no object of names.
 */
export function assertKnownOptions<T extends object>(call: string, options: T, names: OptionNames<NoInfer<T>>): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new TypeError(`${call}: wanted an object of options, found ${showValue(options)}`);
  }
  const known = Object.keys(names);
  const unknown = Object.keys(options).filter((name) => !Object.hasOwn(names, name));
  if (unknown.length === 0) return;
  const problems = unknown.map((name) => {
    const near = nearestName(name, known);
    return `there is no option '${name}'${near === null ? '' : `; did you mean '${near}'?`}`;
  });
  throw new UnknownOptionError(`${call}: ${problems.join('; ')} (there are ${known.join(', ')})`);
}
