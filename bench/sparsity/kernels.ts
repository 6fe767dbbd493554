/**
 * @file What each kernel of the active backend takes, forward and backward, by putting a clock around all that are registered. A kernel that runs another
 * one is charged with what it does itself.
 */
import * as tf from '@tensorflow/tfjs';

/** Of one kernel since the clock was last read. */
export interface KernelTime {
  readonly calls: number;
  readonly milliseconds: number;
}

export interface KernelClock {
  /** What was counted since the last reading, by kernel, and starts again. */
  read(): Map<string, KernelTime>;
  /** Puts the kernels back. */
  stop(): void;
}

/** @param now milliseconds; of a clock, or of the process's time on processors. */
export function clockKernels(backend: string, now: () => number): KernelClock {
  const before = [...tf.getKernelsForBackend(backend)];
  const counted = new Map<string, { calls: number; milliseconds: number }>();
  const inner: number[] = [];
  for (const config of before) {
    const { kernelName, kernelFunc } = config;
    tf.unregisterKernel(kernelName, backend);
    tf.registerKernel({
      ...config,
      kernelFunc: (params) => {
        const start = now();
        inner.push(0);
        try {
          return kernelFunc(params);
        } finally {
          const taken = now() - start;
          const own = taken - inner.pop()!;
          if (inner.length > 0) inner[inner.length - 1]! += taken;
          const entry = counted.get(kernelName) ?? { calls: 0, milliseconds: 0 };
          entry.calls++;
          entry.milliseconds += own;
          counted.set(kernelName, entry);
        }
      },
    });
  }
  return {
    read() {
      const read = new Map(counted);
      counted.clear();
      return read;
    },
    stop() {
      for (const config of before) {
        tf.unregisterKernel(config.kernelName, backend);
        tf.registerKernel(config);
      }
    },
  };
}
