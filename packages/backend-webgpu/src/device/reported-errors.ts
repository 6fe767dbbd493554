/// <reference types="@webgpu/types" />
/**
 * @file Mistakes, lack of memory and a lost device, which WebGPU reports some time later, to whoever listens; tfjs does not, and goes on with zeros.
 * Here the first of them is kept, and thrown by the next kernel or read.
 */
import { WebGPUError } from '../errors.js';

/** How long a read that was given up waits for the reason. */
const LOST_MS = 500;

const ADVICE = ', with a smaller batch if the GPU ran out of memory or time';

export class ReportedErrors {
  readonly #device: GPUDevice;
  #problem: WebGPUError | null = null;
  #ended = false;

  constructor(device: GPUDevice) {
    this.#device = device;
    device.addEventListener('uncapturederror', (event) => this.#note((event as GPUUncapturedErrorEvent).error));
    device.lost.then(({ reason, message }) => {
      if (!this.#ended) this.#problem = lost(`${reason || 'unknown'}: ${message}`, ADVICE);
    });
  }

  /** @throws WebGPUError of what was reported since the last call. A lost device is reported each time. */
  check(): void {
    const problem = this.#problem;
    if (problem === null) return;
    if (problem.problem !== 'lost') this.#problem = null;
    throw problem;
  }

  /** A buffer that cannot be mapped went with its device, which says so a little later, or never where the GPU's process ended. */
  async throwLost(cause: unknown): Promise<never> {
    if (!(cause instanceof Error) || !/^(Abort|Operation)Error$/.test(cause.name)) throw cause;
    await Promise.race([this.#device.lost, new Promise((resolve) => setTimeout(resolve, LOST_MS))]);
    this.check();
    throw lost(cause.message, '', { cause });
  }

  /** The device is given back from here on: that it is lost is no news. */
  end(): void {
    this.#ended = true;
  }

  #note(error: GPUError): void {
    const short = error.message.split('\n')[0];
    const isMemory = error.constructor.name === 'GPUOutOfMemoryError';
    this.#problem ??= isMemory
      ? new WebGPUError(
          'out-of-memory',
          `the GPU has too little memory: ${short}; take shorter or fewer sequences a batch`,
        )
      : new WebGPUError(
          'validation',
          `WebGPU refused a command, and what was computed since is worthless: ${error.message}`,
        );
  }
}

function lost(why: string, advice: string, options?: ErrorOptions): WebGPUError {
  const message = `the GPU's device was lost (${why}), and with it all tensors; begin again from the last checkpoint${advice}`;
  return new WebGPUError('lost', message, options);
}
