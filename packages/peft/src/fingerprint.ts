/** @file A base model's fingerprint, by which an adapter notices that it is loaded onto another model of the same shape. */
import { originalSample } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import type { AdapterHost } from './types.js';

/** Values of each weight that go into the fingerprint: the beginning of its first row. */
const SAMPLE = 64;

/**
 * 64 bits in hexadecimal (FNV-1a) over name, shape and first values of every linear layer. Values are rounded to bfloat16 first, and are those before
 * a weight was stored in a form such as FP8, so that a model is the same in float32, in bfloat16 and in a form: an adapter goes from one to the other.
 * @param original weight to take for a layer instead of the host's, where an adapter is merged into it.
 */
export async function baseFingerprint(
  host: AdapterHost,
  original: (linearName: string) => tf.Tensor2D | undefined = () => undefined,
): Promise<string> {
  let hash = 0xcbf29ce484222325n;
  const add = (byte: number) => {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  };
  const samples = [...host.linears.values()].map((linear) => {
    const weight = original(linear.name) ?? linear.weight;
    const before = originalSample(weight)?.first ?? null;
    // One that is held in parts is not to be looked at, as a single process may ask.
    const values = before ? null : tf.slice(weight, [0, 0], [1, Math.min(SAMPLE, linear.inFeatures)]);
    return { linear, before, values };
  });
  try {
    for (const { linear, values, before } of samples) {
      for (const byte of new TextEncoder().encode(`${linear.name} ${linear.outFeatures}x${linear.inFeatures};`))
        add(byte);
      for (const bits of new Uint32Array((before?.slice() ?? Float32Array.from(await values!.data())).buffer)) {
        const rounded = (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
        add(rounded & 0xff);
        add(rounded >>> 8);
      }
    }
  } finally {
    tf.dispose(samples.flatMap(({ values }) => values ?? []));
  }
  return hash.toString(16).padStart(16, '0');
}
