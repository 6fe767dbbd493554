/** @file What can go wrong between Node and a GPU, as errors that can be told apart. */

/** This machine cannot run the backend. The message says what is missing and what would help. */
export class CudaUnavailableError extends Error {
  readonly code = 'SPFT_CUDA_UNAVAILABLE';
  override readonly name = 'CudaUnavailableError';

  /** @param hint what would help, where the message does not say it. */
  constructor(
    message: string,
    readonly hint?: string,
  ) {
    super(message);
  }
}

/** A variable of the environment has a value that means nothing. */
export class CudaSettingError extends Error {
  readonly code = 'SPFT_CUDA_SETTING';
  override readonly name = 'CudaSettingError';
}

/** A call of the driver or of cuBLASLt failed. */
export class CudaError extends Error {
  readonly code = 'SPFT_CUDA';
  override readonly name = 'CudaError';

  /**
   * @param call the function that reported it, which for errors of kernels is a later one than caused it.
   * @param status its result.
   * @param statusName the status by name, e.g. CUDA_ERROR_ILLEGAL_ADDRESS.
   */
  constructor(
    readonly call: string,
    readonly status: number,
    readonly statusName: string,
    detail: string,
  ) {
    super(`${call}: ${statusName} (${status})${detail ? `; ${detail}` : ''}`);
  }
}

/** A kernel's source does not compile. The message has the compiler's log and the lines that it points to. */
export class CudaCompileError extends Error {
  readonly code = 'SPFT_CUDA_COMPILE';
  override readonly name = 'CudaCompileError';

  constructor(
    readonly file: string,
    readonly log: string,
    readonly options: readonly string[],
  ) {
    super(`${file} does not compile (${options.join(' ')}):\n${log}`);
  }
}

/** A tensor is used that was disposed of. Nothing was computed. */
export class CudaDisposedError extends Error {
  readonly code = 'SPFT_CUDA_DISPOSED';
  override readonly name = 'CudaDisposedError';

  /** @param by the kernel that wanted it. */
  constructor(
    readonly by: string,
    shape: readonly number[],
    dtype: string,
  ) {
    super(
      `${by}: a tensor [${shape}] of ${dtype} was disposed of and is used again; dispose of it later, tf.keep() it, or return it from the tf.tidy() that it ` +
        'was made in',
    );
  }
}

/** A stored form of weights that this GPU, or these weights, cannot have. */
export class CudaFormError extends Error {
  readonly code = 'SPFT_CUDA_FORM';
  override readonly name = 'CudaFormError';
}

/** A collective of NCCL failed, or the ranks could not be connected. The communicator is of no use afterwards. */
export class NcclError extends Error {
  readonly code = 'SPFT_NCCL';
  override readonly name = 'NcclError';

  /**
   * @param call the function that reported it.
   * @param status ncclResult_t; -1 where the library did not answer in time, or was given up before.
   */
  constructor(
    readonly call: string,
    readonly status: number,
    detail: string,
  ) {
    super(`${call}: ${detail}`);
  }
}

/** Bytes of device memory held by the tensors that one kernel made, or that were uploaded. */
export interface Holder {
  readonly by: string;
  readonly bytes: number;
  readonly tensors: number;
}

/** The GPU has no room for a tensor. Everything that was there before is still there. */
export class CudaOutOfMemoryError extends Error {
  readonly code = 'SPFT_CUDA_MEMORY';
  override readonly name = 'CudaOutOfMemoryError';

  constructor(
    readonly wanted: number,
    readonly free: number,
    readonly total: number,
    readonly holders: readonly Holder[],
  ) {
    const held = holders.map(({ by, bytes, tensors }) => `${gib(bytes)} by ${tensors} tensors of ${by}`);
    super(
      `no room for ${gib(wanted)} on the GPU: ${gib(free)} of ${gib(total)} are free; held are ${held.join(', ') || 'none by tensors'}. ` +
        'A smaller batch, shorter sequences or gradient checkpointing need less; another process on the GPU may hold the rest (nvidia-smi)',
    );
  }
}

const gib = (bytes: number): string =>
  bytes >= 2 ** 28 ? `${(bytes / 2 ** 30).toFixed(2)} GiB` : `${(bytes / 2 ** 20).toFixed(2)} MiB`;
