/** @file What LoRA's values are on every kind of module: the scale of B·A, and how a variable is made. */
import * as tf from '@tensorflow/tfjs';
import type { LoraConfig } from './lora-config.js';

/** What multiplies B·A. */
export function loraScaling(config: Pick<LoraConfig, 'r' | 'loraAlpha' | 'useRslora'>): number {
  return config.loraAlpha / (config.useRslora ? Math.sqrt(config.r) : config.r);
}

/** A variable that takes over the tensor's memory. */
export function variableOf(tensor: tf.Tensor): tf.Variable {
  const variable = tf.variable(tensor);
  tensor.dispose();
  return variable;
}
