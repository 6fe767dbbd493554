/** @file What the environment says about this backend, checked: a misspelt value must not quietly mean the default. */
import { CudaSettingError } from './errors.js';

type Environment = Readonly<Record<string, string | undefined>>;

/** Element type of frozen matrices that come as files, by `SPFT_CUDA_PRECISION`: bf16 (default) or float32. @throws CudaSettingError. */
export function weightTypeOf(env: Environment = process.env): 'bf16' | 'f32' {
  const value = env.SPFT_CUDA_PRECISION || 'bf16';
  if (value === 'bf16') return 'bf16';
  if (value === 'float32') return 'f32';
  throw new CudaSettingError(`SPFT_CUDA_PRECISION is '${value}', must be bf16 (the default) or float32`);
}

/** Which GPU, by `SPFT_CUDA_DEVICE`, as CUDA numbers those that `CUDA_VISIBLE_DEVICES` leaves; default 0. @throws CudaSettingError. */
export function ordinalOf(env: Environment = process.env): number {
  const value = env.SPFT_CUDA_DEVICE || '0';
  if (/^\d{1,4}$/.test(value)) return Number(value);
  throw new CudaSettingError(`SPFT_CUDA_DEVICE is '${value}', must be the number of a GPU: 0 for the first`);
}

/** Whether steps are recorded as graphs, by `SPFT_CUDA_GRAPHS`: 1 (default) or 0. @throws CudaSettingError. */
export function recordsSteps(env: Environment = process.env): boolean {
  const value = env.SPFT_CUDA_GRAPHS || '1';
  if (value === '1') return true;
  if (value === '0') return false;
  throw new CudaSettingError(
    `SPFT_CUDA_GRAPHS is '${value}', must be 1 (the default: training steps are recorded) or 0`,
  );
}
