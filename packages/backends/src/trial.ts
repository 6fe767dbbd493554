/**
 * @file Whether a backend that was found runs: it is started and computes something whose result is known.
 *
 * A package may be installed without its native part, a library may load and fail at the first product, and TensorFlow's package for Node fails so on versions of
 * Node that came after it. Where that shows only in training, a better backend than none was passed over.
 */
import * as tf from '@tensorflow/tfjs';
import type { BackendDescriptor, BackendProbe } from './descriptor.js';

/** What tfjs keeps of the active backend. */
interface Active {
  backendName: string | null | undefined;
  backendInstance: object | null;
}

const prepared = new Set<string>();

/** What the backend's probe says, and where that is good whether it computes. Never throws; the active backend is the same afterwards. */
export async function tried(descriptor: Readonly<BackendDescriptor>): Promise<BackendProbe> {
  const probe = await descriptor.probe();
  if (!probe.available) return probe;
  const engine = tf.engine() as unknown as Active;
  const before = engine.backendName;
  const wasQuiet = tf.env().getBool('PROD');
  try {
    // What tfjs would say of a backend that does not start, with a stack, is in the reason.
    tf.env().set('PROD', true);
    const reason = await whatFails(descriptor);
    // Asked again, as it may know more now that it runs.
    return reason === null ? await descriptor.probe() : { available: false, reason, hint: descriptor.repair };
  } finally {
    tf.env().set('PROD', wasQuiet);
    if (before) await tf.setBackend(before);
    else {
      // Nothing was active; tfjs takes what it likes when it is first used.
      engine.backendName = before;
      engine.backendInstance = null;
    }
  }
}

/** Null where nothing does. */
async function whatFails(descriptor: Readonly<BackendDescriptor>): Promise<string | null> {
  const { name } = descriptor;
  try {
    if (!prepared.has(name)) await descriptor.prepare();
    prepared.add(name);
  } catch (error) {
    return `it is installed and does not load: ${firstLine(error)}`;
  }
  try {
    if (!(await tf.setBackend(name))) {
      const why = await descriptor.whyNotStarted?.();
      return `it was found but did not start${why ? ` (${why})` : ''}`;
    }
    await tf.ready();
  } catch (error) {
    return `it was found but did not start (${firstLine(error)})`;
  }
  try {
    const computed = await compute();
    return computed.join() === EXPECTED.join() ? null : `it computes wrongly: ${computed} where ${EXPECTED} is right`;
  } catch (error) {
    return `it started and does not compute: ${firstLine(error)}`;
  }
}

/** Small whole numbers, which every backend must give exactly. */
const EXPECTED: readonly number[] = [0, 5, 0, 9, 5, 9];

/** The rows of relu(x·wᵀ + b) and their sums. Few kernels, as those of a GPU are compiled at first use. */
async function compute(): Promise<number[]> {
  const results = tf.tidy(() => {
    const [x, w] = [tf.tensor2d([1, 2, -3, 4], [2, 2]), tf.tensor2d([1, -1, 0, 2], [2, 2])];
    const y = tf.relu(tf.add(tf.matMul(x, w, false, true), tf.tensor1d([1, 1])));
    return [y, tf.sum(y, 1)] as const;
  });
  try {
    const [y, sums] = await Promise.all(results.map((result) => result.data()));
    return [...y!, ...sums!];
  } finally {
    tf.dispose([...results]);
  }
}

/** The first line of its message, without its end, as it stands in a sentence. */
function firstLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.split('\n')[0]!.trim().replace(/\.$/, '');
}
