/**
 * @file SwiGLU as loops, for `cpu` only: 640 tokens of 768 channels take 13 ms instead of 35 forward, 18 instead of 110 backward. On wasm elementwise ops run at 0.5 ns an element, a loop
 * at 1.6 for each pass and Math.exp at 20.
 */
import type { HostKernel } from './host-kernel.js';

export const swigluOnHost: HostKernel<'SpftSwiglu'> = {
  backends: ['cpu'],
  outputs: ({ gate }) => ({ shape: gate!.shape, dtype: 'float32' }),
  run: ({ gate, up }, [y]) => {
    for (let i = 0; i < y!.length; i++) y![i] = (gate![i]! / (1 + Math.exp(-gate![i]!))) * up![i]!;
  },
};

export const swigluGradOnHost: HostKernel<'SpftSwigluGrad'> = {
  backends: ['cpu'],
  outputs: ({ gate }) => [
    { shape: gate!.shape, dtype: 'float32' },
    { shape: gate!.shape, dtype: 'float32' },
  ],
  run: ({ gate, up, dy }, [dGate, dUp]) => {
    for (let i = 0; i < dy!.length; i++) {
      const z = gate![i]!;
      const sigmoid = 1 / (1 + Math.exp(-z));
      dGate![i] = dy![i]! * up![i]! * sigmoid * (1 + z - z * sigmoid);
      dUp![i] = dy![i]! * z * sigmoid;
    }
  },
};
