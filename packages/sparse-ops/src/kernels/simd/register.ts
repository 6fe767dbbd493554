/** @file Gives the wasm backend our SIMD kernels, each in the place of our other one under its name. */
import * as tf from '@tensorflow/tfjs';
import { guarded } from '../../contract/journal.js';
import type { KernelName } from '../../contract/kernels.js';
import { registerOwnKernel } from '../host/host-kernel.js';
import * as fourBit from './four-bit.js';
import * as kernels from './kernels.js';
import * as mlp from './mlp.js';
import { kernelFuncOf, type SimdRun, simdModule } from './module.js';
import * as products from './products.js';
import { projectColumns, projectColumnsGrad } from './project-columns.js';
import { projectRows, projectRowsGrad } from './project-rows.js';
import * as scores from './scores.js';

const KERNELS = {
  SpftAdamw: kernels.adamw,
  SpftBatchedMatMul: products.batchedMatMul,
  SpftGatedMlp: mlp.gatedMlp,
  SpftGatedMlpGrad: mlp.gatedMlpGrad,
  SpftGatedScores: scores.gatedScores,
  SpftLinear: products.linear,
  SpftLinearGrad: products.linearGrad,
  SpftLinearKeptColumns: products.linearKeptColumns,
  SpftLinearKeptColumnsGrad: products.linearKeptColumnsGrad,
  SpftLinearKeptRows: products.linearKeptRows,
  SpftLinearKeptRowsGrad: products.linearKeptRowsGrad,
  SpftLoraLinear: kernels.loraLinear,
  SpftLoraLinearGrad: kernels.loraLinearGrad,
  SpftPackedAttention: kernels.attention,
  SpftPackedAttentionGrad: kernels.attentionGrad,
  SpftProjectColumns: projectColumns,
  SpftProjectColumnsGrad: projectColumnsGrad,
  SpftProjectRows: projectRows,
  SpftProjectRowsGrad: projectRowsGrad,
  SpftRmsNorm: kernels.rmsNorm,
  SpftRmsNormGrad: kernels.rmsNormGrad,
  SpftRmsNormResidualGrad: kernels.rmsNormResidualGrad,
  SpftRope: kernels.rope,
  SpftSwiglu: kernels.swiglu,
  SpftSwigluGrad: kernels.swigluGrad,
  SpftTranspose2d: kernels.transpose,
  SpftUnpack4bit: fourBit.unpack4bit,
  SpftUnpack4bitColumns: fourBit.unpack4bitColumns,
  SpftUnpack4bitRows: fourBit.unpack4bitRows,
} satisfies { readonly [Name in KernelName]?: SimdRun<Name> };

/** What each took the place of, or null where there was nothing; null before they are registered. */
let replaced: ReadonlyMap<KernelName, tf.KernelFunc | null> | null = null;

/** Kernels of tfjs that ours take the place of, which leave to them what they do not do themselves. */
const OF_TFJS: readonly (readonly [kernelName: string, orElse: (tfjs: tf.KernelFunc) => tf.KernelFunc])[] = [
  [tf.BatchMatMul, products.matMulOrElse],
  [tf.Add, kernels.addOrElse],
];

/** Those, while ours are in their places. */
let ofTfjs: tf.KernelConfig[] = [];

/** Whether products of the wasm backend, those of `tf.matMul` among them, are ours: then a transposed operand costs no more than a plain one. */
export const hasSimdProducts = (): boolean => ofTfjs.length > 0;

/** What is made of products; the others stay where tfjs's own products are wanted. */
const OF_PRODUCTS = /^Spft(BatchedMatMul|Linear.*|GatedMlp.*|GatedScores|Project.*|RmsNormResidualGrad)$/;

/**
 * Registers them for the active backend, which is `wasm`; without effect where they cannot run.
 * @param options `products: false` leaves products to tfjs: to time both.
 */
export function registerSimdKernels({ products: withProducts = true } = {}): void {
  if (replaced !== null || simdModule(tf.backend()) === null) return;
  const before = new Map<KernelName, tf.KernelFunc | null>();
  for (const [kernelName, run] of Object.entries(KERNELS) as [KernelName, SimdRun<never>][]) {
    if (!withProducts && OF_PRODUCTS.test(kernelName)) continue;
    const there = tf.getKernel(kernelName, 'wasm')?.kernelFunc ?? null;
    if (registerOwnKernel(kernelName, 'wasm', kernelFuncOf(run))) before.set(kernelName, there);
  }
  replaced = before;
  for (const [kernelName, orElse] of withProducts ? OF_TFJS : []) {
    const there = tf.getKernel(kernelName, 'wasm');
    if (!there) continue;
    ofTfjs.push(there);
    tf.unregisterKernel(kernelName, 'wasm');
    tf.registerKernel({ ...there, kernelFunc: guarded(orElse(there.kernelFunc)) });
  }
}

/** Puts back what was there before: to test and to time it. */
export function unregisterSimdKernels(): void {
  for (const [kernelName, before] of replaced ?? []) {
    if (before) registerOwnKernel(kernelName, 'wasm', before);
    else tf.unregisterKernel(kernelName, 'wasm');
  }
  replaced = null;
  for (const there of ofTfjs) {
    tf.unregisterKernel(there.kernelName, 'wasm');
    tf.registerKernel(there);
  }
  ofTfjs = [];
}
