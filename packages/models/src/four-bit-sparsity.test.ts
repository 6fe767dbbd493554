/** @file SparseQLoRA on each backend (test/four-bit-sparsity-suite.ts). */
import { describe } from 'vitest';
import { TEST_BACKENDS } from '../../../test/support/backends.js';
import { sparseQloraSuite } from '../test/four-bit-sparsity-suite.js';

describe.each(TEST_BACKENDS)('SparseQLoRA on %s', sparseQloraSuite);
