import { afterEach, describe, expect, it } from 'vitest';
import { denseEstimator, EstimatorError } from './index.js';
import { assertKnownMode, createEstimator, type EstimatorRequest, knownModes, registerEstimator } from './registry.js';

const request = (mode: string, modules = { mlp: true, selfAttn: true }): EstimatorRequest => ({
  mode,
  modules,
  heads: { heads: 4, kvHeads: 2, headDim: 8 },
  compat: 'corrected',
  channelMultiple: 1,
  qkPerHead: false,
  qkvoSeqAvg: false,
  mlpSeqAvg: true,
});

describe('registerEstimator()', () => {
  const undo: (() => void)[] = [];
  afterEach(() => {
    for (const back of undo.splice(0)) back();
  });

  it('lets a mode of the user be created, with the match', async () => {
    undo.push(
      registerEstimator(/^mine_(\d+)$/, ({ mode }, [, n]) => ({ ...denseEstimator(mode), mode: `${mode}!${n}` })),
    );
    expect((await createEstimator(request('mine_7'))).mode).toBe('mine_7!7');
    expect(knownModes()).toContain('/^mine_(\\d+)$/');
  });

  it('refuses a pattern that is there already, or claims an example of another', () => {
    undo.push(registerEstimator(/^mine$/, () => denseEstimator()));
    expect(() => registerEstimator(/^mine$/, () => denseEstimator())).toThrow(EstimatorError);
    expect(() => registerEstimator(/^svd_/, () => denseEstimator())).toThrow(
      'registerEstimator: /^svd_/ claims modes of svd_<rank>',
    );
  });

  it('refuses an example that its own pattern does not match, and patterns with state', () => {
    expect(() => registerEstimator(/^a$/, () => denseEstimator(), { examples: ['b'] })).toThrow(
      "example 'b' does not match /^a$/",
    );
    expect(() => registerEstimator(/^a$/g, () => denseEstimator())).toThrow('drop its g and y flags');
  });

  it('takes a registration back, once', () => {
    const back = registerEstimator(/^mine$/, () => denseEstimator());
    back();
    back();
    expect(() => assertKnownMode('mine')).toThrow(EstimatorError);
    undo.push(registerEstimator(/^mine$/, () => denseEstimator()));
    expect(() => assertKnownMode('mine')).not.toThrow();
  });

  it('does not guess between two patterns that claim a mode', () => {
    undo.push(
      registerEstimator(/^my/, () => denseEstimator()),
      registerEstimator(/own$/, () => denseEstimator()),
    );
    expect(() => assertKnownMode('my_own')).toThrow("mode 'my_own' is claimed by /^my/ and /own$/; rename one");
  });
});

describe('createEstimator()', () => {
  it.each(['dense', 'none', 'svd_8', 'oracle_svd_8', 'oracle_norm_ffn', 'oracle_l2norm_norm_ffn'])(
    'knows %s',
    (mode) => {
      expect(() => assertKnownMode(mode)).not.toThrow();
    },
  );

  it.each([
    ['svd8', 'svd_8'],
    ['svd_', 'svd_4'],
    ['orcale_norm_ffn', 'oracle_norm_ffn'],
    ['densse', 'dense'],
  ])('suggests for %s the nearest mode %s and lists what there is', async (mode, nearest) => {
    const error = await createEstimator(request(mode)).catch((e: unknown) => e as EstimatorError);
    expect(error).toMatchObject({ code: 'SPFT_ESTIMATOR' });
    expect(String(error)).toContain(
      `mode '${mode}' belongs to no estimator; known modes: dense, calibrated_<rank>[_static], static, random, svd_<rank>, oracle_svd_<rank>`,
    );
    expect(String(error)).toContain(`did you mean '${nearest}'?`);
  });

  it('refuses svd of rank 0 and of no rank', () => {
    for (const mode of ['svd_0', 'svd', 'svd_x', 'oracle_svd'])
      expect(() => assertKnownMode(mode)).toThrow(EstimatorError);
  });

  it('refuses an oracle without a rule for a module that is to be sparse', async () => {
    await expect(createEstimator(request('oracle_l2norm'))).rejects.toThrow(
      "mode 'oracle_l2norm' has no rule for mlp layers",
    );
    await expect(createEstimator(request('oracle_norm_ffn'))).rejects.toThrow('has no rule for self_attn layers');
    await expect(createEstimator(request('oracle_nrm_fn'))).rejects.toThrow("mode 'oracle_nrm_fn' names no rule");
    const mlpAlone = await createEstimator(request('oracle_norm_ffn', { mlp: true, selfAttn: false }));
    expect(mlpAlone).toMatchObject({ needs: 'activations', applies: 'mask' });
  });

  it('says that svd needs predictors where it gets none', async () => {
    await expect(createEstimator(request('svd_8'))).rejects.toThrow("mode 'svd_8' needs predictors");
  });
});
