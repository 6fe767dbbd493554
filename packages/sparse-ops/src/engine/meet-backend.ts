/** @file What is done once for each backend that ops run on, when they first do: later than import, as a backend may be loaded after us. */
import * as tf from '@tensorflow/tfjs';
import { checkBackend } from '../contract/register.js';
import { registerSimdKernels } from '../kernels/simd/register.js';
import { shareClonesOnWasm } from './tfjs-internals.js';

let current = '';
const met = new Set<string>();

/** Cheap to call again. */
export function meetBackend(): void {
  const backendName = tf.getBackend();
  if (backendName === current) return;
  current = backendName;
  if (met.has(backendName)) return;
  met.add(backendName);
  checkBackend(backendName);
  if (backendName !== 'wasm') return;
  registerSimdKernels();
  shareClonesOnWasm();
}
