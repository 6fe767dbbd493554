import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { TEST_BACKENDS, useBackend } from '../../../test/support/backends.js';
import { TINY } from '../test/tiny.js';
import { weightMemorySuite } from '../test/weight-memory-suite.js';
import type { BasePrecision } from './load-options.js';
import { weightMemory } from './weight-memory.js';

describe.each(TEST_BACKENDS.filter((backend) => backend !== 'cuda'))('weightMemory() on %s', (backend) => {
  beforeAll(() => useBackend(backend));
  weightMemorySuite(() => tf.memory().numBytes);

  it('knows the largest tensor, and counts what is unknown as float32', () => {
    const { largest, bytes } = weightMemory(TINY, () => undefined);
    const numbers = TINY.vocabSize * TINY.hiddenSize;
    expect(largest).toBe(4 * Math.max(numbers, TINY.intermediateSize * TINY.hiddenSize));
    expect(bytes).toBeGreaterThan(4 * numbers);
  });

  it('refuses a precision that is none', () => {
    const basePrecision = 'fp5' as BasePrecision;
    expect(() => weightMemory(TINY, () => 'BF16', { basePrecision })).toThrow("basePrecision is 'fp5', must be one of");
  });
});
