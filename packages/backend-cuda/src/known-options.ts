/** @file Options of public calls, by name: a misspelt one must not quietly mean the default. */

/** @throws TypeError for a name of `options` that is not one of `names`, with those that are. */
export function refuseUnknownOptions<T extends object>(
  call: string,
  options: T,
  names: Readonly<Record<keyof T, true>>,
): void {
  const unknown = Object.keys(options).filter((name) => !Object.hasOwn(names, name));
  if (unknown.length === 0) return;
  throw new TypeError(
    `${call}: there is no option '${unknown.join("', '")}' (there are ${Object.keys(names).join(', ')})`,
  );
}
