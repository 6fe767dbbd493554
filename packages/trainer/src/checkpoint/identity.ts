/**
 * @file Which model a checkpoint is of, beside its variables: base, adapter and sparsity, as `TrainableModel.identity` gives them. Two models whose
 * variables have the same names and shapes may compute different things.
 */
import type { TrainableModel } from '@spft/models';
import * as tf from '@tensorflow/tfjs';
import { checkpointObject, mismatch } from './checkpoint-json.js';
import type { CheckpointFiles } from './store.js';

/** Short texts by name: `base`, `adapter.lora_alpha`, `sparsity.mode`, … */
export type ModelIdentity = Readonly<Record<string, string>>;

export const IDENTITY = 'model_identity.json';

/** May differ: other arithmetic, or predictors made anew. The run goes on, not bit for bit, and that is said. */
const SAID: ReadonlySet<string> = new Set(['backend', 'sparsity.predictors']);

export async function identityOf(model: TrainableModel): Promise<ModelIdentity> {
  return { backend: tf.getBackend(), ...(await model.identity?.()) };
}

/**
 * Compares a checkpoint's model with the one that is to go on.
 * @returns what differs and may.
 * @throws TrainerError naming everything that differs and may not.
 */
export function compareIdentity(files: CheckpointFiles, current: ModelIdentity): string[] {
  if (!files.has(IDENTITY)) {
    return [
      'the checkpoint does not say of which base, adapter and sparsity it is, as those of earlier versions do not: not compared',
    ];
  }
  const saved = textsOf(checkpointObject(files, IDENTITY));
  const notices: string[] = [];
  const refused: string[] = [];
  const spaces = new Set(Object.keys(saved).map(spaceOf));
  for (const name of new Set([...Object.keys(saved), ...Object.keys(current)])) {
    const [before, now] = [saved[name], current[name]];
    if (before === now) continue;
    const difference = `${name} was ${before ?? 'not given'}, is ${now ?? 'not given'}`;
    // What a later version has more to say of the same thing is not in a checkpoint of an earlier one.
    const unknown = before === undefined && spaces.has(spaceOf(name));
    if (SAID.has(name) || unknown)
      notices.push(`${difference}: the run will not be the one that was interrupted, bit for bit`);
    else refused.push(difference);
  }
  if (refused.length > 0) {
    throw mismatch(
      `it is of another model: ${refused.join('; ')}. Give the run what it had, or start a new one in another place`,
    );
  }
  return notices;
}

/** `adapter` of `adapter.lora_alpha`. */
const spaceOf = (name: string): string => name.split('.')[0]!;

function textsOf(json: Record<string, unknown>): Record<string, string> {
  if (Object.values(json).every((text) => typeof text === 'string')) return json as Record<string, string>;
  throw mismatch(`${IDENTITY} wants an object of texts`);
}
