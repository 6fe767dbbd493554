import { describe, expect, it } from 'vitest';
import { ConfigError } from './config-error.js';
import { matchLayers } from './match-layers.js';
import { parseTrainConfig } from './parse-train-config.js';
import { SPARSITY_KEYS } from './sparsity-config.js';
import { SpftConfig, type SpftConfigOptions } from './spft-config.js';

const FILE =
  'mode: svd_8\nstart_step: 0.05\nskip_output_tokens: True\nsparsity:\n  layers.0.mlp: 0\n  layers.1.mlp: 0.99\n';
const fromText = (text: string, options?: SpftConfigOptions) => SpftConfig.fromText(text, 's.yaml', options);
const messageOf = (make: () => unknown): string => {
  try {
    make();
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as Error).message;
  }
  throw new Error('expected a ConfigError');
};

describe('SpftConfig', () => {
  it("reads upstream's layout with upstream's defaults", () => {
    const config = fromText(FILE);
    expect(config).toMatchObject({
      ...{
        mode: 'svd_8',
        startStep: 0.05,
        endStep: 1,
        skipOutputTokens: true,
        skipSinkTokens: 0,
        skipRandomTokens: false,
      },
      ...{ sparseOutputTokens: 0, sparseLoraBranch: false, qkPerHead: false, qkvoSeqAvg: false, mlpSeqAvg: true },
      ...{ predictorBasepath: null, ffnSparsity: null, qkvoSparsity: null, compat: 'corrected', channelMultiple: null },
      sparsity: { 'layers.0.mlp': 0, 'layers.1.mlp': 0.99 },
    });
    expect(config.source.lineOf(['sparsity', 'layers.1.mlp'])).toBe(6);
  });

  it('round-trips through the form of a file', () => {
    const config = SpftConfig.fromObject({
      ...{ mode: 'oracle_norm_ffn', channel_multiple: 16, compat: 'reference', predictor_basepath: 'none' },
      sparsity: { 'model.layers.3.self_attn': 0.5 },
    });
    expect(config).toMatchObject({ predictorBasepath: null, sparsity: { 'layers.3.self_attn': 0.5 } });
    const { source: _, ...values } = config;
    expect(SpftConfig.fromObject(SpftConfig.toObject(config))).toMatchObject(values);
    expect(Object.keys(SpftConfig.toObject(config))).toHaveLength(Object.keys(SPARSITY_KEYS).length + 1);
  });

  it('reports everything that is wrong at once', () => {
    const text = [
      'mode: "svd 8"',
      'start_stp: 0.1',
      'skip_output_tokens: "True"',
      'skip_sink_tokens: 1.5',
      'sparse_output_tokens: 1.1',
      'learning_rate: 1',
      'compat: right',
      'channel_multiple: 0',
      'ffn_sparsity: 0.9',
      'sparsity:',
      '  layers.0.mlp: 1',
      '  layers.1.mpl: 0.5',
      '  layer.2.self_attn: 0.5',
      '  layers.3.mlp: "0.9"',
      '  layers.4.mlp: -0.1',
      '  layers.03.mlp: 0.5',
    ].join('\n');
    expect(messageOf(() => fromText(text)).split('\n')).toEqual([
      '15 problems:',
      expect.stringMatching(
        /^ {2}s\.yaml:1: mode: expected a name without spaces, such as dense, svd_8, .*found the string "svd 8"$/,
      ),
      expect.stringMatching(
        /^ {2}s\.yaml:2: start_stp: there is no such key; did you mean start_step\? Allowed: mode, start_step, /,
      ),
      '  s.yaml:3: skip_output_tokens: expected true or false, found the string "True"; write true, without quotes',
      '  s.yaml:4: skip_sink_tokens: expected a whole number of at least 0, found 1.5',
      '  s.yaml:5: sparse_output_tokens: expected a number of at least 0 and at most 1, found 1.1',
      '  s.yaml:6: learning_rate: this key belongs in a training file (configs/train) or a flag, not into a sparsity file',
      '  s.yaml:7: compat: expected one of corrected, reference, found the string "right"',
      '  s.yaml:8: channel_multiple: expected a whole number of at least 1 (or none), found 0',
      '  s.yaml:9: ffn_sparsity: expected a string (or none), found 0.9; put it in quotes',
      '  s.yaml:11: sparsity.layers.0.mlp: expected a number of at least 0 and below 1, found 1',
      '  s.yaml:12: sparsity.layers.1.mpl: this is not the name of a layer; did you mean layers.1.mlp? Allowed: layers.N.mlp, layers.N.self_attn',
      '  s.yaml:13: sparsity.layer.2.self_attn: this is not the name of a layer; did you mean layers.2.self_attn? Allowed: layers.N.mlp, layers.N.self_attn',
      '  s.yaml:14: sparsity.layers.3.mlp: expected a number of at least 0 and below 1, found the string "0.9"; remove the quotes',
      '  s.yaml:15: sparsity.layers.4.mlp: expected a number of at least 0, found -0.1'.replace(
        'at least 0,',
        'at least 0 and below 1,',
      ),
      '  s.yaml:16: sparsity.layers.03.mlp: this is not the name of a layer; did you mean layers.3.mlp? Allowed: layers.N.mlp, layers.N.self_attn',
    ]);
  });

  it('rejects a file without layers, layers that are no keys, and values without keys', () => {
    expect(messageOf(() => fromText('mode: svd_8'))).toBe('s.yaml: the key sparsity is missing');
    expect(messageOf(() => fromText('mode: svd_8\nsparsity: 0.5'))).toBe(
      's.yaml:2: sparsity: expected keys with values, found 0.5',
    );
    expect(messageOf(() => fromText('mode: svd_8\nsparsity:\n'))).toContain(
      'sparsity: expected keys with values, found null',
    );
    expect(messageOf(() => SpftConfig.fromObject([1]))).toContain('found a list of 1');
    expect(messageOf(() => SpftConfig.fromObject(null))).toContain('found null');
  });

  it('rejects a layer given under both of its names', () => {
    expect(messageOf(() => fromText('mode: svd_8\nsparsity:\n  layers.1.mlp: 0.1\n  model.layers.1.mlp: 0.2'))).toBe(
      's.yaml:4: sparsity.model.layers.1.mlp: this layer is given twice, first as layers.1.mlp; keep one',
    );
  });

  it('wants to know who chooses, where something is to be sparse', () => {
    expect(messageOf(() => fromText('sparsity: {layers.0.mlp: 0.5}'))).toContain('set mode, e.g. svd_8');
    expect(fromText('sparsity: {layers.0.mlp: 0}').mode).toBe('dense');
  });

  it('rejects a schedule that never begins', () => {
    expect(messageOf(() => fromText(`${FILE}end_step: 0.05`))).toBe(
      's.yaml:7: end_step: expected an end after start_step (0.05), found 0.05; nothing would ever be sparse',
    );
    expect(fromText(`${FILE}end_step: 100`).endStep).toBe(100);
  });

  it('lets flags override it and a training config fill it, as upstream does', () => {
    const train = parseTrainConfig(
      'spft_start_step: 0.5\nspft_skip_output_tokens: false\nspft_qk_per_head: true',
      't.yaml',
      { spft_start_step: '0.2' },
    );
    expect(fromText(FILE, { train, flags: ['--spft-start-step'] })).toMatchObject({
      ...{ startStep: 0.2, skipOutputTokens: true, qkPerHead: true },
    });
    expect(fromText(FILE, { train }).startStep).toBe(0.05);
    const wrong = parseTrainConfig(null, '', { spft_end_step: '0.01' });
    expect(messageOf(() => fromText(FILE, { train: wrong }))).toMatch(/^spft_end_step: expected an end after/);
    expect(messageOf(() => fromText(FILE, { train: wrong, flags: ['spft_end_step'] }))).toMatch(/^--spft_end_step: /);
  });
});

describe('SpftConfig of the hub layout', () => {
  const layers = (mlp: number, attention: number) => ({
    layer_sparsity: {
      'model.layers.0.mlp': 0,
      'model.layers.0.self_attn': 0,
      'model.layers.1.mlp': mlp,
      'model.layers.1.self_attn': attention,
    },
  });
  const hub = {
    base_model: 'NousResearch/Meta-Llama-3-8B-Instruct',
    predictor_rank: 4,
    modes: { o1: layers(0.97, 0.2), o2: layers(0.99, 0.75) },
  };
  const text = JSON.stringify(hub, null, 2);

  it('reads the conservative mode unless told otherwise', () => {
    const config = SpftConfig.fromText(text, 'config.json', { directory: 'models/x' });
    expect(config).toMatchObject({
      ...{ mode: 'svd_4', skipOutputTokens: true, mlpSeqAvg: true, startStep: 0, endStep: 1 },
      ...{ predictorPath: 'models/x', baseModel: hub.base_model },
    });
    expect(config.sparsity).toEqual({
      'layers.0.mlp': 0,
      'layers.0.self_attn': 0,
      'layers.1.mlp': 0.97,
      'layers.1.self_attn': 0.2,
    });
    expect(config.source.lineOf(['sparsity', 'layers.1.mlp'])).toBe(9);
    expect(SpftConfig.fromObject(hub, { hubMode: 'o2' }).sparsity['layers.1.self_attn']).toBe(0.75);
  });

  it('reads the form that a run saves', () => {
    const saved = {
      layer_sparsity: { 'model.layers.1.mlp': 0.5 },
      predictor_rank: 8,
      path: 'z-lab/x',
      start_step: 0.05,
      end_step: 1.0,
    };
    expect(SpftConfig.fromObject(saved)).toMatchObject({
      ...{ mode: 'svd_8', startStep: 0.05, predictorPath: 'z-lab/x', sparsity: { 'layers.1.mlp': 0.5 } },
    });
  });

  it('takes the schedule of a training config', () => {
    const train = parseTrainConfig('spft_start_step: 0.1', 't.yaml');
    expect(SpftConfig.fromObject(hub, { train }).startStep).toBe(0.1);
  });

  it('names the modes that there are, and what is wrong with its keys', () => {
    expect(messageOf(() => SpftConfig.fromText(text, 'config.json', { hubMode: 'o3' }))).toBe(
      'config.json:4: modes: has no mode "o3"; did you mean o1? Allowed: o1, o2',
    );
    expect(messageOf(() => SpftConfig.fromText('sparsity:\n  layers.0.mlp: 0.5', 's.yaml', { hubMode: 'o2' }))).toBe(
      's.yaml: mode "o2" is asked for (sparsity_mode), and this file has no modes to choose from; leave it out',
    );
    const wrong = { ...hub, predictor_rnk: 3, modes: { o1: { layer_sparsity: { 'model.layers.0.mlp': 2 } }, o2: {} } };
    const message = messageOf(() => SpftConfig.fromText(JSON.stringify(wrong, null, 1), 'config.json'));
    expect(message).toContain('predictor_rnk: there is no such key; did you mean predictor_rank?');
    expect(message).toContain(
      'modes.o1.layer_sparsity.model.layers.0.mlp: expected a number of at least 0 and below 1, found 2',
    );
    expect(message).toContain('modes.o2: the key layer_sparsity is missing');
    expect(messageOf(() => SpftConfig.fromObject({ modes: {} }))).toContain(
      'modes: expected at least one key, found none',
    );
  });
});

describe('matchLayers()', () => {
  it('gives the sparsity of each layer that is named', () => {
    const { sparsity } = fromText(`${FILE}  layers.1.self_attn: 0.75`);
    expect([...matchLayers(sparsity, 4)]).toEqual([
      [0, { mlp: 0, selfAttn: 0 }],
      [1, { mlp: 0.99, selfAttn: 0.75 }],
    ]);
  });

  it('rejects every pattern that matches no layer, with the nearest names', () => {
    const config = fromText(
      'mode: svd_8\nsparsity:\n  layers.1.mlp: 0.5\n  layers.32.mlp: 0.5\n  layers.40.self_attn: 0\n',
    );
    expect(messageOf(() => matchLayers(config.sparsity, 32, config.source)).split('\n')).toEqual([
      '2 problems:',
      '  s.yaml:4: sparsity.layers.32.mlp: matches no layer: the model has 32, layers.0 to layers.31; nearest: layers.31.mlp, layers.30.mlp, layers.22.mlp',
      expect.stringMatching(
        /^ {2}s\.yaml:5: sparsity\.layers\.40\.self_attn: matches no layer: the model has 32, .*nearest: layers\.30\.self_attn/,
      ),
    ]);
    expect(messageOf(() => matchLayers({ 'layers.x.mlp': 0.5 }, 2))).toMatch(
      /^sparsity\.layers\.x\.mlp: matches no layer/,
    );
  });
});

describe('SpftConfig.toRunLayout()', () => {
  const layers = { 'layers.1.mlp': 0.5, 'layers.2.self_attn': 0.25 };
  const file = { mode: 'svd_4', skip_output_tokens: true, start_step: 0.05, sparsity: layers };

  it('gives the keys of sparselora_config.json, which read back give the config', () => {
    const config = SpftConfig.fromObject(file);
    const layout = SpftConfig.toRunLayout(config);
    expect(layout).toEqual({
      value: { predictor_rank: 4, path: null, start_step: 0.05, end_step: 1, layer_sparsity: layers },
    });
    const again = SpftConfig.fromObject((layout as { value: object }).value);
    expect(SpftConfig.toObject(again)).toEqual(SpftConfig.toObject(config));
    const calibrated = SpftConfig.toRunLayout(SpftConfig.fromObject({ ...file, mode: 'calibrated_8' }));
    expect(calibrated).toMatchObject({ value: { predictor_rank: 8, predictor_mode: 'calibrated_8' } });
  });

  it.each([
    [{ mode: 'oracle_random' }, ['mode']],
    [{ skip_output_tokens: false }, ['skip_output_tokens']],
    [{ skip_tail_tokens: 16, channel_multiple: 8 }, ['skip_tail_tokens', 'channel_multiple']],
    [{ compensation_rank: 8 }, ['compensation_rank']],
    [{ compat: 'reference' }, ['compat']],
  ])('names what that layout cannot say of %j', (changed, unsaid) => {
    const layout = SpftConfig.toRunLayout(SpftConfig.fromObject({ ...file, ...changed }));
    expect([...(layout as { unsaid: string[] }).unsaid].sort()).toEqual([...unsaid].sort());
  });
});

describe('SpftConfig of a plan', () => {
  it('refuses a plan that is to be run with other maps than it was measured with', () => {
    const plan = (more: object) => ({
      mode: 'svd_8',
      planned_for: '0123456789ab',
      sparsity: { 'layers.1.mlp': 0.9 },
      ...more,
    });
    const trainOf = (rank: string) => parseTrainConfig(`spft_compensation_rank: ${rank}`, 't.yaml');
    const flags = ['spft_compensation_rank'];
    const kept = SpftConfig.fromObject(plan({ compensation_rank: 128 }), { train: trainOf('128'), flags });
    expect(kept.compensationRank).toBe(128);
    // A training file fills what is left out, and does not win over what is there.
    expect(SpftConfig.fromObject(plan({ compensation_rank: 128 }), { train: trainOf('32') }).compensationRank).toBe(
      128,
    );
    const message = 'planned and measured with compensation_rank 128, found 32';
    expect(() => SpftConfig.fromObject(plan({ compensation_rank: 128 }), { train: trainOf('32'), flags })).toThrow(
      message,
    );
    // One that does not say was measured without.
    expect(() => SpftConfig.fromObject(plan({}), { train: trainOf('32') })).toThrow('compensation_rank 0, found 32');
    const { planned_for: _, ...unplanned } = plan({ compensation_rank: 128 });
    expect(SpftConfig.fromObject(unplanned, { train: trainOf('32'), flags }).compensationRank).toBe(32);
  });
});
