/** @file Training runs of the toy, from its start to what is left of it. */
import { Trainer } from '../src/loop/trainer.js';
import type { TrainerOptions, TrainOutput } from '../src/loop/trainer-options.js';
import { type ToyModel, type ToyOptions, toyModel, toySamples, valuesOf } from './toy-model.js';

/** Options of a trainer that says nothing. */
export const silent = { notify: () => undefined };

export interface Run {
  readonly values: Record<string, number[]>;
  readonly output: TrainOutput;
  readonly calls: ToyModel['calls'];
}

/** Trains a toy on twenty samples, unless `options` say otherwise, and disposes of it. */
export async function run(
  options: Omit<TrainerOptions, 'model' | 'samples'> & Partial<TrainerOptions>,
  toy: ToyOptions = {},
  resumeFromCheckpoint?: string | boolean,
): Promise<Run> {
  const model = toyModel(toy);
  try {
    const trainer = new Trainer({ model, samples: toySamples(20), ...silent, ...options });
    const output = await trainer.train({ resumeFromCheckpoint });
    return { values: valuesOf(model), output, calls: model.calls };
  } finally {
    model.dispose();
  }
}

/** Values of a key in the log, in order. */
export const logged = (output: TrainOutput, key: string) =>
  output.state.logHistory.filter((entry) => key in entry).map((entry) => entry[key]!);
