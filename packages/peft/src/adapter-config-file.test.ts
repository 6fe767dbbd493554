import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { GOLDEN_ADAPTERS, SHARED } from '../test/golden.js';
import { adapterConfigText, parseAdapterConfig } from './adapter-config-file.js';
import { decisiveFields } from './decisive-fields.js';
import { AdapterError } from './errors.js';
import { completeLoraConfig } from './lora-config.js';

const parse = (fields: object) => parseAdapterConfig({ peft_type: 'LORA', ...fields });

describe('adapterConfigText()', () => {
  it('writes what it read, with every field of PEFT 0.21 and those it does not know', () => {
    const config = parse({
      r: 4,
      lora_alpha: 8,
      lora_dropout: 0.05,
      target_modules: ['q_proj'],
      base_model_name_or_path: 'modèle',
      peft_version: '0.9.0',
      some_new_field: { b: [1, 'x'], a: null },
    });
    const text = adapterConfigText(config);
    expect(text).toContain('"lora_dropout": 0.05,');
    expect(text).toContain('"base_model_name_or_path": "mod\\u00e8le"');
    const written = JSON.parse(text);
    expect(written).toMatchObject({ peft_version: '0.9.0', qalora_group_size: 16, inference_mode: true, bias: 'none' });
    expect(written.some_new_field).toEqual({ b: [1, 'x'], a: null });
    expect(Object.keys(written)).toEqual(Object.keys(written).sort());
    expect(parseAdapterConfig(written)).toMatchObject({ ...config, extra: config.extra });
  });

  it.each([
    [0, '0.0'],
    [0.1, '0.1'],
    [0.00001, '1e-05'],
  ])('writes a dropout of %d as Python does', (loraDropout, text) => {
    expect(adapterConfigText(completeLoraConfig({ loraDropout }))).toContain(`"lora_dropout": ${text},`);
  });

  it.skipIf(!SHARED).each(GOLDEN_ADAPTERS)('gives the bytes of %s (needs the golden values)', (dir) => {
    const path = `${SHARED}/golden/${dir}/adapter_config.json`;
    expect(existsSync(path)).toBe(true);
    const text = readFileSync(path, 'utf8');
    expect(adapterConfigText(parseAdapterConfig(JSON.parse(text)))).toBe(text);
  });
});

describe('parseAdapterConfig()', () => {
  it('reads files of old releases, which lack fields or have null', () => {
    const config = parse({ r: 2, target_modules: null, rank_pattern: null, layers_pattern: '' });
    expect(config).toMatchObject({ r: 2, targetModules: ['q_proj', 'v_proj'], rankPattern: {}, loraAlpha: 8 });
  });

  it('says what is wrong by the names of the file', () => {
    expect(() => parseAdapterConfig([], 'x.json')).toThrow('x.json: wanted an object, found []');
    expect(() => parseAdapterConfig({ r: 4 })).toThrow('peft_type: wanted "LORA", found none');
    expect(() => parseAdapterConfig({ peft_type: 'IA3' })).toThrow(AdapterError);
    expect(() => parse({ lora_alpha: '16', use_dora: 1 })).toThrow(/lora_alpha: wanted a finite number, found "16"/);
    expect(() => parse({ init_lora_weights: 'olora' })).toThrow(/init_lora_weights: wanted .* found "olora"/);
  });
});

describe('decisiveFields()', () => {
  it('gives the fields that change the computation when they are set', () => {
    expect(
      decisiveFields(parse({ bias: 'none', use_qalora: false, modules_to_save: [], qalora_group_size: 8 })),
    ).toEqual([]);
    expect(
      decisiveFields(parse({ use_dora: true, bias: 'all', modules_to_save: ['lm_head'], layer_replication: [[0, 1]] })),
    ).toEqual(['bias', 'layer_replication', 'modules_to_save', 'use_dora']);
  });

  it('takes fields that a method declares', () => {
    expect(decisiveFields(parse({ my_field: { a: 1 } }), ['my_field'])).toEqual(['my_field']);
  });
});
