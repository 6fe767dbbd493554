/**
 * @file Which variants of the kernel files are ever compiled. A file of kernels declares them beside the code that asks for them, and
 * `compile-all.test.ts` compiles every one for every architecture: NVRTC needs no GPU, so a kernel that does not compile is found without one.
 */
import type { Defines } from '../device/modules.js';

/** A file of `cuda/` and the definitions that it is compiled with. */
export interface Variant {
  readonly file: string;
  readonly defines: Defines;
  /** The only architecture that has its instructions; any where there is none. */
  readonly architecture?: string;
}

const declared = new Map<string, Variant>();

/** Says that `cuda/<file>.cu` is compiled with each of `variants`; for one architecture alone where that is given. */
export function declareVariants(file: string, variants: readonly Defines[] = [{}], architecture?: string): void {
  for (const defines of variants) declared.set(variantName({ file, defines }), { file, defines, architecture });
}

/** All that were declared by the modules imported so far, in order of their names. */
export const declaredVariants = (): Variant[] =>
  [...declared].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, variant]) => variant);

/** e.g. `unary FROM=float OP=Exp TO=float`. */
export function variantName({ file, defines }: Variant): string {
  const definitions = Object.entries(defines).map(([name, value]) => `${name}=${value}`);
  return [file, ...definitions.sort()].join(' ');
}

/** C++ types of float32 tensors. */
export const FLOATS = ['float', 'bf16'] as const;

/** Every combination of the values of each definition. */
export function combinations(values: Readonly<Record<string, readonly (string | number)[]>>): Defines[] {
  return Object.entries(values).reduce<Defines[]>(
    (before, [name, choices]) => before.flatMap((defines) => choices.map((choice) => ({ ...defines, [name]: choice }))),
    [{}],
  );
}
