/** @file Starts a backend, and says on what it runs. */
import { provideWebGPU } from '@spft/backend-webgpu/node';
import { activateBackend } from '@spft/backends';
import * as tf from '@tensorflow/tfjs';

interface OnDevice {
  readonly device?: {
    readonly adapterInfo?: { readonly vendor: string; readonly device: string; readonly description: string };
  };
}

export async function start(name: string): Promise<string> {
  if (name === 'webgpu') {
    // Separated by `;`. `DAWN_FLAGS=backend=null` computes nothing: what is left is the host's time.
    const flags = process.env.DAWN_FLAGS?.split(';');
    await provideWebGPU({ ...(flags && { flags }) });
    await import('@spft/backend-webgpu');
    if (!(await tf.setBackend(name))) {
      const { startError } = await import('@spft/backend-webgpu');
      throw startError() ?? new Error(`backend '${name}' did not start`);
    }
    const { vendor, device, description } = (tf.backend() as unknown as OnDevice).device?.adapterInfo ?? {};
    return [vendor, device, description].filter(Boolean).join(', ') || 'unknown adapter';
  }
  return (await activateBackend(name)).why;
}
