/** @file Tests of tfjs-core that pass on `cpu` and are not asked of `blas`, each with the reason. */

/** @type {{ test: RegExp, reason: string }[]} */
export const LEFT_OUT = [
  { test: /^Switching cpu backends /, reason: 'declared by tfjs for a backend whose name is cpu alone' },
];
