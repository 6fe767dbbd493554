/** @file The backend that computes: started, and named with the reason for it. */
import { activateBackend, type BackendChoice } from '@spft/backends';
import * as tf from '@tensorflow/tfjs';
import type { Output } from '../terminal/output.js';

/**
 * @param name asked for by name; by default the environment's `SPFT_BACKEND`, then the best available.
 * @throws BackendError when it cannot run here.
 */
export async function openBackend(name: string | undefined, output: Output): Promise<BackendChoice> {
  // tfjs advises another backend on the console otherwise; which one runs is said here.
  tf.enableProdMode();
  const choice = await activateBackend(name);
  output.note(`backend ${choice.why}`);
  return choice;
}
