import { describe, expect, it } from 'vitest';
import { jumpWarning } from './loss-jump.js';

describe('jumpWarning()', () => {
  it('says how far and what to do, where the loss jumps by more than a quarter', () => {
    expect(jumpWarning({ dense: 2, sparse: 2.4 })).toBeNull();
    expect(jumpWarning({ dense: 2, sparse: 5 })).toMatch(
      /will be 5\.000 where a dense one's is 2\.000 \(\+150 %\).*spft sparsity plan/,
    );
  });
});
