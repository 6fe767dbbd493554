/**
 * @file The backends that spft knows, best first, and how one is chosen.
 *
 * A backend is a frozen descriptor: asked whether it can run here (`probe`) and, if so, tried: it is started and computes something (trial.ts), as what is
 * installed need not run. A package with a backend of its own registers a descriptor with the priority at which it wants to be tried. An explicit
 * choice never falls back; an automatic one says why it passed over each better backend.
 */
import * as tf from '@tensorflow/tfjs';
import type { BackendDescriptor, BackendProbe } from './descriptor.js';
import { BackendError } from './errors.js';
import { tried } from './trial.js';

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
  const ranked = [...descriptors.values()].map((descriptor) => ({ descriptor, rank: descriptor.priority ?? -1 }));
  return ranked.sort((a, b) => b.rank - a.rank).map(({ descriptor }) => descriptor);
}

export interface BackendReport {
  readonly name: string;
  readonly description: string;
  readonly automatic: boolean;
  readonly probe: BackendProbe;
}

/**
 * Asks every known backend, and tries those that are there: each computes something small, so that what is said to run does. The active backend is the same
 * afterwards; those that were tried stay started, as tfjs keeps them.
 */
export async function probeBackends(): Promise<BackendReport[]> {
  const probes = new Map<string, BackendProbe>();
  // One after the other, as tfjs has one active backend.
  for (const descriptor of knownBackends()) probes.set(descriptor.name, await tried(descriptor));
  // In the order of now, where one turned out to be of less use.
  return knownBackends().map(({ name, description, priority }) => ({
    name,
    description,
    automatic: priority !== null,
    probe: probes.get(name)!,
  }));
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
    const probe = await tried(descriptor);
    if (!probe.available) {
      throw new BackendError(
        `backend '${name}' cannot run here: ${probe.reason}${probe.hint ? `; ${probe.hint}` : ''}`,
      );
    }
    return { name, why: `${name} (asked for by name): ${probe.detail}` };
  }
  const passed = new Map<string, string>();
  const best = () => knownBackends().find(({ name, priority }) => priority !== null && !passed.has(name));
  const over = () => [...passed].map(([name, reason]) => `${name} (${reason})`).join(', ');
  for (let descriptor = best(); descriptor; descriptor = best()) {
    const probe = await tried(descriptor);
    if (!probe.available) passed.set(descriptor.name, probe.reason);
    // Started, it may be of less use than it seemed, as TensorFlow's package for GPUs is without one: another is tried first then.
    else if (best() === descriptor) {
      const why = `${descriptor.name}: ${probe.detail}${passed.size > 0 ? `; passed over ${over()}` : ''}`;
      return { name: descriptor.name, why };
    }
  }
  throw new BackendError(`no backend can run here; passed over ${over()}`);
}

/**
 * Chooses as `chooseBackend` does and makes the choice tfjs's active backend.
 * @param name defaults to the environment's `SPFT_BACKEND`, then to the best available.
 */
export async function activateBackend(
  name: string | undefined = process.env.SPFT_BACKEND || undefined,
): Promise<BackendChoice> {
  const choice = await chooseBackend(name);
  if (!(await tf.setBackend(choice.name)))
    throw new BackendError(`backend '${choice.name}' computed and then did not start`);
  await tf.ready();
  return choice;
}
