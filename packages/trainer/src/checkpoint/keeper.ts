/** @file A run's checkpoints: writing one and giving up the surplus, finding and reading the one to go on from. */
import type { TrainableModel } from '@spft/models';
import { TrainerError } from '../errors.js';
import type { TrainerState } from '../loop/state.js';
import { packCheckpoint, type RunParts, unpackCheckpoint, unpackVariables } from './checkpoint.js';
import { identityOf, type ModelIdentity } from './identity.js';
import { surplusCheckpoints } from './rotation.js';
import type { CheckpointEntry, CheckpointFiles, CheckpointStore } from './store.js';

/** The parts of a run that the keeper does not know itself. */
export type KeptParts = Omit<RunParts, 'variables' | 'identity'>;

export interface KeeperOptions {
  readonly model: TrainableModel;
  /** Without one, nothing is saved. */
  readonly store: CheckpointStore | undefined;
  /** Files that every checkpoint gets besides. */
  readonly files: (() => Promise<Readonly<Record<string, string | Uint8Array>>>) | undefined;
  /** Of checkpoints; null for all. */
  readonly limit: number | null;
  readonly notify: (message: string) => void;
  /** Whether this process packs what is written; of several ranks one does. Default true. */
  readonly packs?: boolean;
}

/** Knows the last good checkpoint. */
export class CheckpointKeeper {
  readonly #options: KeeperOptions;
  #identity: Promise<ModelIdentity> | null = null;
  #last: string | null = null;

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  /** Where the last checkpoint of this run lies, or the one that it goes on from. */
  get last(): string | null {
    return this.#last;
  }

  get saves(): boolean {
    return this.#options.store !== undefined;
  }

  /**
   * Writes a checkpoint, then gives up those beyond the limit. Notes in `state` where the best one lies.
   * @throws NonFiniteError when a value is NaN or infinite: then nothing is written.
   */
  async save(parts: KeptParts, state: TrainerState, unloggedLosses: readonly number[]): Promise<string> {
    const { store, limit } = this.#options;
    if (!store) throw new Error('internal: a checkpoint is due where there is no place for one');
    const { globalStep } = state;
    if (state.bestGlobalStep === globalStep) state.bestModelCheckpoint = store.locate(globalStep);
    const files = await this.#pack(parts, state, unloggedLosses);
    const location = await store.write(globalStep, files);
    this.#last = location;
    const { complete } = await store.list();
    for (const surplus of surplusCheckpoints(complete, limit, state.bestModelCheckpoint)) {
      await store.remove(surplus.location);
    }
    return location;
  }

  /**
   * Puts a checkpoint's values into model and optimizer.
   * @param from its location, true for the last complete one, or `auto` for the last one that can be read, where there is one.
   * @returns null where `auto` found none: the run begins at its start, which is said.
   * @throws TrainerError when there is none, or it is of another run.
   */
  async resume(
    from: string | true,
    parts: KeptParts,
    run: { maxSteps: number; numTrainEpochs: number },
  ): Promise<{ state: TrainerState; unloggedLosses: number[] } | null> {
    const { store, notify } = this.#options;
    if (!store) throw new TrainerError('options', 'resume_from_checkpoint needs a place for checkpoints');
    const { complete, notices } = await store.list();
    notices.forEach(notify);
    const found =
      from === 'auto'
        ? await this.#lastReadable(store, complete)
        : await readOne(store, from, complete.at(-1)?.location);
    if (found === null) {
      notify('resume_from_checkpoint auto: there is no checkpoint yet, so the run begins at its start');
      return null;
    }
    const { location, files } = found;
    const restored = await unpackCheckpoint(files, await this.#complete(parts), run);
    restored.notices.forEach(notify);
    const { state, unloggedLosses } = restored;
    // Where the best one lies now: directories move.
    state.bestModelCheckpoint = complete.find((entry) => entry.step === state.bestGlobalStep)?.location ?? null;
    this.#last = location;
    notify(`continuing from ${location} at step ${state.globalStep} of ${run.maxSteps}`);
    return { state, unloggedLosses };
  }

  /** The last one that is not damaged. */
  async #lastReadable(store: CheckpointStore, complete: readonly CheckpointEntry[]): Promise<FoundCheckpoint | null> {
    for (const { location } of [...complete].reverse()) {
      try {
        return { location, files: await store.read(location) };
      } catch (error) {
        if (!(error instanceof TrainerError)) throw error;
        this.#options.notify(`${location} is passed over: ${error.message}`);
      }
    }
    return null;
  }

  async #pack(parts: KeptParts, state: TrainerState, unloggedLosses: readonly number[]): Promise<CheckpointFiles> {
    const { files: more, packs = true } = this.#options;
    if (!packs) return new Map();
    const files = await packCheckpoint(await this.#complete(parts), state, unloggedLosses, this.#last);
    for (const [name, content] of Object.entries((await more?.()) ?? {})) {
      files.set(name, typeof content === 'string' ? new TextEncoder().encode(content) : content);
    }
    return files;
  }

  /** Puts the variables of a checkpoint into the model: the best one's, after training. */
  async loadVariables(location: string): Promise<void> {
    const { store, model, notify } = this.#options;
    await unpackVariables(await store!.read(location), model.variables);
    notify(`best model loaded: ${location}`);
  }

  async #complete(parts: KeptParts): Promise<RunParts> {
    const { model } = this.#options;
    // Once a run: neither base nor sparsity changes while it is trained.
    this.#identity ??= identityOf(model);
    return { ...parts, variables: model.variables, identity: await this.#identity };
  }
}

interface FoundCheckpoint {
  readonly location: string;
  readonly files: CheckpointFiles;
}

/** @param from its location, or true for the last one. */
async function readOne(
  store: CheckpointStore,
  from: string | true,
  last: string | undefined,
): Promise<FoundCheckpoint> {
  const location = from === true ? last : from;
  if (location === undefined) {
    throw new TrainerError(
      'checkpoint',
      'resume_from_checkpoint: there is no complete checkpoint to continue from; start without it',
    );
  }
  return { location, files: await store.read(location) };
}
