/**
 * @file The backends that spft knows, best first, and how one is chosen.
 *
 * A backend is a frozen descriptor: asked whether it can run here (`probe`) and, if chosen, started (`activate`). A package with a backend
 * of its own registers a descriptor with the priority at which it wants to be tried. An explicit choice never falls back; an automatic one
 * says why it passed over each better backend.
 */
import * as tf from '@tensorflow/tfjs';
import { BackendError } from './errors.js';

/** What a backend found on this machine. */
export type BackendProbe =
  | { readonly available: true /** What would run, e.g. the package and its version. */; readonly detail: string }
  | { readonly available: false; readonly reason: string /** How to get it. */; readonly hint?: string };

export interface BackendDescriptor {
  /** Its name in tfjs, as `tf.setBackend` takes it. */
  readonly name: string;
  readonly description: string;
  /** Higher is tried first: cuda 40, tensorflow 30, blas 20, wasm 10, cpu 0. Null: only when asked for by name. */
  readonly priority: number | null;
  /** Looks, without starting anything or throwing. */
  probe(): Promise<BackendProbe>;
  /** Makes tfjs know the backend; called once, after a successful probe. */
  prepare(): Promise<void>;
  /** Why tfjs could not start it just now, where that is known: tfjs itself keeps the error to itself. */
  whyNotStarted?(): Promise<string | null>;
}

const descriptors = new Map<string, Readonly<BackendDescriptor>>();

/** @throws BackendError when the name is taken: two implementations under one name could not be told apart in a log. */
export function registerBackend(descriptor: BackendDescriptor): void {
  if (descriptors.has(descriptor.name)) {
    throw new BackendError(
      `registerBackend: '${descriptor.name}' is registered already; give the backend another name`,
    );
  }
  descriptors.set(descriptor.name, Object.freeze(descriptor));
}

/** All known backends, in the order in which they are tried; those only by name last. */
export function knownBackends(): readonly Readonly<BackendDescriptor>[] {
  return [...descriptors.values()].sort((a, b) => (b.priority ?? -1) - (a.priority ?? -1));
}

export interface BackendReport {
  readonly name: string;
  readonly description: string;
  readonly automatic: boolean;
  readonly probe: BackendProbe;
}

/** Asks every known backend; starts none. */
export async function probeBackends(): Promise<BackendReport[]> {
  return Promise.all(
    knownBackends().map(async ({ name, description, priority, ...descriptor }) => ({
      name,
      description,
      automatic: priority !== null,
      probe: await descriptor.probe(),
    })),
  );
}

export interface BackendChoice {
  readonly name: string;
  /** One line for a log: what was chosen and why. */
  readonly why: string;
}

/**
 * Which backend `activateBackend` would start: `name` if given, else the best available.
 * @throws BackendError when `name` is unknown or unavailable here; nothing else is tried then.
 */
export async function chooseBackend(name?: string): Promise<BackendChoice> {
  if (name !== undefined) {
    const descriptor = descriptors.get(name);
    if (!descriptor) {
      const known = knownBackends().map((d) => d.name);
      throw new BackendError(`backend '${name}' is unknown; known are ${known.join(', ')}`);
    }
    const probe = await descriptor.probe();
    if (!probe.available) {
      throw new BackendError(
        `backend '${name}' cannot run here: ${probe.reason}${probe.hint ? `; ${probe.hint}` : ''}`,
      );
    }
    return { name, why: `${name} (asked for by name): ${probe.detail}` };
  }
  const passed: string[] = [];
  for (const descriptor of knownBackends()) {
    if (descriptor.priority === null) continue;
    const probe = await descriptor.probe();
    if (probe.available) {
      const over = passed.length > 0 ? `; passed over ${passed.join(', ')}` : '';
      return { name: descriptor.name, why: `${descriptor.name}: ${probe.detail}${over}` };
    }
    passed.push(`${descriptor.name} (${probe.reason})`);
  }
  throw new BackendError(`no backend can run here; passed over ${passed.join(', ')}`);
}

const prepared = new Set<string>();

/**
 * Chooses as `chooseBackend` does and makes the choice tfjs's active backend.
 * @param name defaults to the environment's `SPFT_BACKEND`, then to the best available.
 */
export async function activateBackend(
  name: string | undefined = process.env.SPFT_BACKEND || undefined,
): Promise<BackendChoice> {
  const choice = await chooseBackend(name);
  if (!prepared.has(choice.name)) {
    await descriptors.get(choice.name)!.prepare();
    prepared.add(choice.name);
  }
  if (!(await tf.setBackend(choice.name))) {
    const problem = await descriptors.get(choice.name)!.whyNotStarted?.();
    throw new BackendError(
      `backend '${choice.name}' was found but did not start (${problem ?? choice.why}); run 'spft doctor', or choose another with SPFT_BACKEND`,
    );
  }
  await tf.ready();
  return choice;
}
