/**
 * @file What a recorded step selected, for who listens: the host knows of which layer and how many while the step is recorded, the device which channels
 * each time it is done again. So a listener hears of a step once it is over, and is no reason to launch it call by call.
 */
import type { SelectionListener } from '@spft/estimator';
import * as tf from '@tensorflow/tfjs';

type Selected = Parameters<SelectionListener>[0];

/** A selection without its indices. */
type Place = Omit<Selected, 'selection'> & Omit<Selected['selection'], 'indices'>;

/** Collects the selections of a step that is being run: the places stay, the indices are results of the step. */
export class StepSelections {
  readonly places: Place[] = [];
  readonly #indices: tf.Tensor1D[] = [];

  readonly listener: SelectionListener = ({ selection: { indices, kept, total }, ...place }) => {
    this.places.push({ ...place, kept, total });
    this.#indices.push(tf.keep(tf.clone(indices)));
  };

  /** The indices in the order of `places`; from now on the caller's. */
  take(): tf.Tensor1D[] {
    return this.#indices.splice(0);
  }

  dispose(): void {
    tf.dispose(this.take());
  }
}

/**
 * Tells the listener of selections that were made.
 * @param indices of each place; taken over.
 */
export function tellSelections(
  listener: SelectionListener,
  places: readonly Place[],
  indices: readonly tf.Tensor[],
): void {
  try {
    places.forEach(({ kept, total, ...place }, n) => {
      listener({ ...place, selection: { indices: indices[n] as tf.Tensor1D, kept, total } });
    });
  } finally {
    tf.dispose([...indices]);
  }
}
