/** @file What is saved is finite: NaN and infinity end a run wherever values leave the device. */
import { firstNonFinite } from '@spft/safetensors';
import type * as tf from '@tensorflow/tfjs';
import { NonFiniteError } from '../errors.js';

/** Where in a run the values stand. */
export interface FinitePlace {
  readonly step: number;
  readonly lastCheckpoint: string | null;
}

/** @throws NonFiniteError naming the first value that is NaN or infinite. */
export function requireFinite(name: string, values: Float32Array, place: FinitePlace): void {
  const at = firstNonFinite(values);
  if (at >= 0) throw new NonFiniteError({ what: name, value: values[at]!, samples: [], ...place });
}

/**
 * Reads variables back, one after the other, and looks at each. Once a run: a gradient that was infinite in its last step shows nowhere else.
 * @throws NonFiniteError
 */
export async function requireFiniteVariables(
  variables: ReadonlyMap<string, tf.Variable>,
  place: FinitePlace,
): Promise<void> {
  for (const [name, variable] of variables) requireFinite(name, (await variable.data()) as Float32Array, place);
}
