import { packTokens } from '@spft/sparse-ops';
import { describe, expect, it } from 'vitest';
import { flopsShare, stepFlops } from './flops.js';

const SHAPE = {
  hiddenSize: 4096,
  intermediateSize: 14336,
  numHiddenLayers: 32,
  numAttentionHeads: 32,
  numKeyValueHeads: 8,
  headDim: 128,
  vocabSize: 128256,
};
/** 8 sequences of 512 tokens of which the last 128 carry labels: DESIGN section 5. */
const TOKENS = {
  layout: packTokens({ lengths: new Array(8).fill(512), dense: (token) => token % 512 >= 384 }),
  labelledTokens: 1024,
};
const LORA = { rank: 32, targets: ['q_proj', 'k_proj', 'v_proj', 'o_proj'] };
const everywhere = (mlp: number, selfAttn: number) =>
  new Map(Array.from({ length: 32 }, (_, layer) => [layer, { mlp, selfAttn }]));

describe('stepFlops()', () => {
  it('counts the products of the frozen weights, forward and backward', () => {
    const weights = 32 * (2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 4096 * 14336);
    // Of the last layer's o and MLP the labelled rows alone.
    const afterAttention = 4096 * 4096 + 3 * 4096 * 14336;
    const { frozen, adapters, head, attention, estimator, total } = stepFlops(SHAPE, TOKENS, { adapters: LORA });
    expect(frozen).toBe(4 * (4096 * weights - 3072 * afterAttention));
    expect(head).toBe(4 * 1024 * 4096 * 128256);
    expect(adapters).toBe(6 * 32 * (32 * 4096 * (4 * 4096 + 2 * 4096 + 2 * 1024) - 3072 * 2 * 4096));
    expect(attention).toBe(32 * 12 * 8 * ((512 * 513) / 2) * 4096);
    expect(estimator).toBe(0);
    expect(total).toBe(frozen + adapters + attention + head);
  });

  it('counts sparse rows by their kept channels, query channels by those of their kv group', () => {
    const dense = { frozen: 4 * 4096 * 32 * (2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 4096 * 14336) };
    const sparse = stepFlops(SHAPE, TOKENS, { sparsity: everywhere(0.5, 0) });
    const mlp = 32 * 3 * 4096 * 14336 * 4;
    // Of the last layer labelled rows alone, which count as dense.
    const lastMlp = (3 * 4096 * 14336 * 4 * 3072) / 2;
    expect(dense.frozen - sparse.frozen).toBe(mlp * 3072 * 0.5 + lastMlp);
    const attention = stepFlops(SHAPE, TOKENS, { sparsity: everywhere(0, 0.75) });
    const lastOutput = 4 * 3072 * 0.25 * 4096 * 4096;
    const kept = 32 * 4 * 3072 * 0.75 * (2 * 4096 * 4096 + 2 * 1024 * 4096);
    expect(dense.frozen - attention.frozen).toBe(kept + 2 * lastMlp + lastOutput);
    const aligned = stepFlops(SHAPE, TOKENS, { sparsity: everywhere(0.9, 0), channelMultiple: 16 });
    const density = 1440 / 14336;
    expect(dense.frozen - aligned.frozen).toBeCloseTo(mlp * 3072 * (1 - density) + 2 * lastMlp * density, -3);
  });

  it('adds two products each way for the map that replaces dropped channels, on the rows that drop them', () => {
    const sparsity = new Map([[3, { mlp: 0.9, selfAttn: 0.5 }]]);
    const [without, compensated] = [{}, { compensationRank: 32 }].map((more) =>
      stepFlops(SHAPE, TOKENS, { sparsity, ...more }),
    );
    expect(compensated!.frozen - without!.frozen).toBe(2 * (4 * 3072 * 32 * 4096));
    expect(stepFlops(SHAPE, TOKENS, { compensationRank: 32 })).toEqual(stepFlops(SHAPE, TOKENS));
  });

  it('adds what the estimator and DoRA cost', () => {
    const sparsity = everywhere(0.9, 0.5);
    const free = stepFlops(SHAPE, TOKENS, { sparsity, adapters: LORA });
    const paid = stepFlops(SHAPE, TOKENS, { sparsity, adapters: { ...LORA, dora: true }, predictorRank: 8 });
    expect(paid.estimator).toBeGreaterThan(0);
    expect(paid.estimator).toBeLessThan(0.01 * paid.total);
    expect(paid.adapters).toBeGreaterThan(free.adapters);
    expect(paid.frozen).toBe(free.frozen);
  });
});

describe('flopsShare()', () => {
  it('is 1 where nothing is dropped and where no row is sparse', () => {
    expect(flopsShare(SHAPE, TOKENS, { adapters: LORA })).toBe(1);
    const dense = { ...TOKENS, layout: packTokens({ lengths: [512], dense: () => true }) };
    expect(flopsShare(SHAPE, dense, { sparsity: everywhere(0.99, 0.5) })).toBe(1);
  });

  it('falls with the sparsity, to what the dense rows and the rest take', () => {
    const share = (mlp: number) => flopsShare(SHAPE, TOKENS, { adapters: LORA, sparsity: everywhere(mlp, 0.5) });
    expect(share(0.5)).toBeLessThan(1);
    expect(share(0.99)).toBeLessThan(share(0.5));
    expect(share(0.99)).toBeGreaterThan(0.25);
  });
});
