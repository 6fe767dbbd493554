/** @file A tensor's elements in another element type. */
import * as tf from '@tensorflow/tfjs';
import { type UnpackingHost, unpackingOf } from '../forms/unpacking.js';
import { C_TYPE, type Physical } from '../storage.js';

interface ConvertingHost extends UnpackingHost {
  physical(info: tf.TensorInfo): Physical;
}

/** Writes the elements of `from`, in whatever form, to `to`, in element type `physical`. */
export function convert(host: ConvertingHost, from: tf.TensorInfo, to: number, physical: Physical): void {
  const own = host.physical(from);
  const form = unpackingOf(own);
  if (form) {
    form.unpack(host, from, to, physical);
    return;
  }
  const size = tf.util.sizeFromShape(from.shape);
  const kernel = host.kernel('cast', 'cast_elements', 'ppl', { FROM: C_TYPE[own], TO: C_TYPE[physical] });
  host.launch(kernel, [Math.min(8192, Math.ceil(size / 1024))], [256], [host.address(from), to, size]);
}
