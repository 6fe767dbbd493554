/** @file The SIMD kernels as WebAssembly on a memory. Documented where they are written, in `assembly/`. */
import { ASSEMBLY } from './assembly.generated.js';

type Kernel = (...args: number[]) => void;

/** In the order of their numbers in a program, from 1. */
export const KERNEL_NAMES = [
  'accumulate',
  'adamw',
  'add',
  'addColumnsAt',
  'addGatedSquares',
  'addRow',
  'addRowsAt',
  'affine',
  'causalExp2',
  'causalExp2Grad',
  'columnDots',
  'copy',
  'crossEntropy',
  'div',
  'divideBy',
  'dropout',
  'gatherColumns',
  'gatherHeads',
  'gatherRows',
  'maskColumns',
  'mul',
  'mulColumn',
  'mulRow',
  'relu',
  'rmsNorm',
  'rmsNormGrad',
  'rope',
  'scatterColumns',
  'scatterHeads',
  'sgd',
  'sigmoid',
  'softmax',
  'startBlock',
  'sub',
  'swiglu',
  'swigluBlock',
  'swigluGrad',
  'swigluGradBlock',
  'transpose',
  'unpack4bit',
  'unpack4bitColumns',
  'zero',
] as const;

export type KernelName = (typeof KERNEL_NAMES)[number];

/** Also the one kernel that gives a number. */
export type Kernels = Readonly<Record<KernelName, Kernel>> & {
  readonly squares: (place: number, count: number) => number;
};

let compiled: WebAssembly.Module | null = null;

/** A `WebAssembly.Module`; declared as an object, as the types of Node alone have no such name. */
export function kernelModule(): object {
  compiled ??= new WebAssembly.Module(Buffer.from(ASSEMBLY, 'base64'));
  return compiled;
}

/** @param memory a `WebAssembly.Memory` that is shared. */
export function kernelsOn(memory: object): Kernels {
  const module = kernelModule() as WebAssembly.Module;
  return new WebAssembly.Instance(module, { env: { memory: memory as WebAssembly.Memory } })
    .exports as unknown as Kernels;
}
