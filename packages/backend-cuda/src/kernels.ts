/** @file Registers every kernel: those of tfjs's ops when they are imported, those of spft's from their table. */
import { type KernelRun, registerCudaKernel } from './shared/register.js';
import './forms/e4m3.js';
import './forms/four-bit.js';
import { READ_FORMS, SPFT_KERNELS } from './spft/kernels.js';
import './tfjs/arg-reduce.js';
import './tfjs/binary.js';
import './tfjs/composed.js';
import './tfjs/constant.js';
import './tfjs/gather.js';
import './tfjs/joining.js';
import './tfjs/matmul.js';
import './tfjs/movement.js';
import './tfjs/multinomial.js';
import './tfjs/reduce.js';
import './tfjs/scan.js';
import './tfjs/scatter.js';
import './tfjs/select.js';
import './tfjs/softmax.js';
import './tfjs/sort.js';
import './tfjs/unary.js';

/** Once; tfjs knows kernels by name whether or not the backend runs. */
export function registerKernels(): void {
  for (const [name, run] of Object.entries(SPFT_KERNELS)) {
    registerCudaKernel(name, run as KernelRun, { readsForms: READ_FORMS.has(name) });
  }
}
