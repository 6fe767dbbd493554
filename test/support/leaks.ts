/** @file Memory is behaviour: a call leaves exactly the tensors that it says it does. */
import * as tf from '@tensorflow/tfjs';

/** Throws unless `f`, run after one warm-up, leaves `owned` more tensors than there were (0: everything given back). */
export async function expectNoLeak(f: () => unknown | Promise<unknown>, owned = 0): Promise<void> {
  await f();
  const before = tf.memory().numTensors;
  await f();
  const left = tf.memory().numTensors - before;
  if (left !== owned) throw new Error(`leak: ${left} tensors left, expected ${owned}`);
}
