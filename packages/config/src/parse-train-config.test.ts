/**
 * @file What a training config is read as, and what is said of mistakes in it.
 * @own-process as V8 may give up on a text of millions of characters (RangeError, its stack for regular expressions) where hundreds of files ran before.
 */
import { describe, expect, it } from 'vitest';
import { ConfigError } from './config-error.js';
import { snakeCase } from './key-table.js';
import { parseTrainConfig, type TrainOverrides, trainConfigToObject, trainKeyRows } from './parse-train-config.js';
import { TRAIN_KEYS } from './train-config.js';

const parse = (text: string | null, overrides?: TrainOverrides) => parseTrainConfig(text, 't.yaml', overrides);
const linesOf = (text: string | null, overrides?: TrainOverrides): string[] => {
  try {
    parse(text, overrides);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    expect((error as ConfigError).code).toBe('SPFT_CONFIG');
    const lines = (error as Error).message.split('\n');
    return lines.length === 1 ? lines : lines.slice(1).map((line) => line.trim());
  }
  throw new Error('expected a ConfigError');
};

describe('parseTrainConfig()', () => {
  it('takes parameters of the schedule as pairs, as an object and as JSON', () => {
    const wanted = { lrSchedulerKwargs: ['num_cycles=2', 'power=0.5'] };
    expect(parseTrainConfig('lr_scheduler_kwargs: {num_cycles: 2, power: 0.5}', 't.yaml')).toMatchObject(wanted);
    for (const text of ['num_cycles=2,power=0.5', '{"num_cycles": 2, "power": 0.5}']) {
      expect(parseTrainConfig(null, '', { lr_scheduler_kwargs: text })).toMatchObject(wanted);
    }
  });

  it('takes a share of the run for steps, and no broken number', () => {
    expect(parseTrainConfig('logging_steps: 0.1\nsave_steps: 50', 't.yaml')).toMatchObject({
      loggingSteps: 0.1,
      saveSteps: 50,
    });
    expect(() => parseTrainConfig('save_steps: 2.5', 't.yaml')).toThrow(
      't.yaml:1: save_steps: expected a whole number of steps, or a share of the run below 1, found 2.5',
    );
  });

  it('has a default for every key without file and flags', () => {
    const config = parse(null);
    expect(Object.keys(config)).toEqual(Object.keys(TRAIN_KEYS));
    expect(config).toMatchObject({ learningRate: 5e-5, loraR: 32, peft: 'lora', spft: null, seed: 42 });
    expect(Object.values(config)).not.toContain(undefined);
    expect(Object.isFrozen(config)).toBe(true);
  });

  it('lets flags override the file, in all spellings', () => {
    const text = 'learning_rate: 3e-4\nbf16: True\nseed: 1\nlora_r: 4\n';
    const flags = { '--learning-rate': '1e-4', bf16: 'False', lora_r: 8, '--max_steps': '-1', packing: true };
    expect(parse(text, { ...flags, weightDecay: '.1', momentum: undefined })).toMatchObject({
      ...{ learningRate: 1e-4, bf16: false, loraR: 8, maxSteps: -1, packing: true, weightDecay: 0.1, seed: 1 },
      momentum: 0,
    });
  });

  it('reads lists, none, and switches', () => {
    const text = 'lora_target_modules: q_proj, v_proj\nsplits: [a, b]\neval_dataset: "none"\ndata_seed:\n';
    expect(parse(text, { peft: 'None', resume_from_checkpoint: true, report_to: 'jsonl,html' })).toMatchObject({
      ...{ loraTargetModules: ['q_proj', 'v_proj'], splits: ['a', 'b'], evalDataset: null, dataSeed: null },
      ...{ peft: null, resumeFromCheckpoint: 'true', reportTo: ['jsonl', 'html'] },
    });
    expect(parse('resume_from_checkpoint: false').resumeFromCheckpoint).toBeNull();
  });

  it('reads the switch of a flag as that of a file, with Python’s capital too', () => {
    expect(parse(null, { resume_from_checkpoint: 'False' }).resumeFromCheckpoint).toBeNull();
    expect(parse(null, { resume_from_checkpoint: 'True' }).resumeFromCheckpoint).toBe('true');
    expect(parse(null, { resume_from_checkpoint: 'false-start' }).resumeFromCheckpoint).toBe('false-start');
  });

  it('takes no empty string, which as a path would be the working directory', () => {
    expect(linesOf('output_dir: ""\nspft: " "\nresume_from_checkpoint: ""\nsplits: ""')).toEqual([
      't.yaml:1: output_dir: expected a string that is not empty, found the string ""',
      't.yaml:2: spft: expected a string that is not empty (or none), found the string " "',
      't.yaml:3: resume_from_checkpoint: expected a string that is not empty (or none), found the string ""',
    ]);
  });

  it("puts adapters on all projections for Unsloth's switch, as upstream does", () => {
    expect(parse('enable_unsloth: true\nlora_target_modules: q_proj').loraTargetModules).toHaveLength(7);
  });

  it('refuses a long string that is almost a number at once', () => {
    // In time that grows with the square of its length this would take hours.
    expect(linesOf(null, { learning_rate: `${'1'.repeat(5e6)}x` })[0]).toContain('expected a number of at least 0');
    expect(parse(null, { learning_rate: '.5e-3', weight_decay: '1.' })).toMatchObject({
      learningRate: 5e-4,
      weightDecay: 1,
    });
  });

  it('takes one of the two lengths for both', () => {
    expect(parse('max_seq_length: 128')).toMatchObject({ maxSeqLength: 128, modelMaxLength: 128 });
    expect(parse(null, { model_max_length: '64' })).toMatchObject({ maxSeqLength: 64, modelMaxLength: 64 });
  });

  it('round-trips through the form of a file', () => {
    const config = parse('learning_rate: 3e-4\nlora_r: 4\nspft: a.yaml\nspft_start_step: 0.1');
    const written = JSON.stringify(trainConfigToObject(config));
    expect(parseTrainConfig(written, 'x.json')).toEqual(config);
  });

  it('reports everything that is wrong at once, with line, what was found, what is allowed, and the nearest name', () => {
    const text = [
      '# a comment',
      'learning_rat: 3e-4',
      'learning_rate: "0.9"',
      'num_train_epochs: -1',
      'bf16: "yes"',
      'lr_scheduler_type: cosin',
      'per_device_train_batch_size: 1.5',
      'lora_dropout: 1',
      'dataset: 3',
      'splits: [a, 3]',
      'save_strategy: [no]',
      'lora_r: null',
      'adam_epsilon: .nan',
    ].join('\n');
    expect(linesOf(text)).toEqual([
      expect.stringMatching(/^t\.yaml:2: learning_rat: there is no such key; did you mean learning_rate\? Allowed: /),
      't.yaml:3: learning_rate: expected a number of at least 0, found the string "0.9"; remove the quotes',
      't.yaml:4: num_train_epochs: expected a number above 0, found -1',
      't.yaml:5: bf16: expected true or false, found the string "yes"; write true, without quotes',
      't.yaml:6: lr_scheduler_type: expected one of linear, cosine, constant, constant_with_warmup, cosine_with_restarts, polynomial, inverse_sqrt, warmup_stable_decay, found the string "cosin"; did you mean cosine?',
      't.yaml:7: per_device_train_batch_size: expected a whole number of at least 1, found 1.5',
      't.yaml:8: lora_dropout: expected a number of at least 0 and below 1, found 1',
      't.yaml:9: dataset: expected a string (or none), found 3; put it in quotes',
      't.yaml:10: splits.1: expected a string, found 3; put it in quotes',
      't.yaml:11: save_strategy: expected one of no, steps, epoch, found a list of 1',
      't.yaml:12: lora_r: expected a whole number of at least 1, found null',
      't.yaml:13: adam_epsilon: expected a number above 0, found NaN',
    ]);
  });

  it('names the flag where a flag is wrong, together with what is wrong in the file', () => {
    const flags = { '--learning-rate': 'fast', lora_rnk: '3', optim: 'adam', seed: true, report_to: 'mlflow' };
    expect(linesOf('max_steps: x', flags)).toEqual([
      't.yaml:1: max_steps: expected a whole number of at least -1, found the string "x"',
      expect.stringMatching(
        /^--lora_rnk: there is no such key; did you mean lora_r\? .*lora_r, lora_alpha, lora_dropout/,
      ),
      '--optim: expected one of adamw_torch, adamw_torch_fused, adamw_hf, adamw, sgd, lion, adafactor, adamw_8bit, adamw_bnb_8bit, paged_adamw_8bit, found the string "adam"; did you mean adamw?',
      '--learning_rate: expected a number of at least 0, found the string "fast"',
      '--report_to.0: expected one of none, all, jsonl, html, tensorboard, wandb, found the string "mlflow"',
      '--seed: expected a whole number of at least 0 and at most 4294967295, found true',
    ]);
  });

  it('knows what other programs call a key, and keys of the other kind of file', () => {
    expect(linesOf('lr: 1\n')[0]).toContain('did you mean learning_rate?');
    expect(linesOf('evaluation_strategy: "no"\n')[0]).toContain('did you mean eval_strategy?');
    expect(linesOf('learningRate: 1\n')[0]).toContain('did you mean learning_rate?');
    expect(linesOf('start_step: 0.1\n')).toEqual([
      't.yaml:1: start_step: this key belongs in a sparsity file (configs/sparsity); here it is called spft_start_step',
    ]);
  });

  it('lists all keys where none is near', () => {
    expect(linesOf('zzzzzzzzz: 1')[0]).toMatch(
      /there is no such key\. Allowed: model_name_or_path, dataset, .*benchmark$/,
    );
  });

  it('rejects values that do not go together', () => {
    expect(
      linesOf('bf16: true\nfp16: true\nload_best_model_at_end: true\nmax_seq_length: 8', { model_max_length: '9' }),
    ).toEqual([
      't.yaml:2: fp16: bf16 and fp16 are both true; keep one',
      't.yaml:4: max_seq_length: expected the same as model_max_length (9), found 8; give one of them, the other follows',
      't.yaml:3: load_best_model_at_end: the best checkpoint is known only with evaluation; set eval_strategy to steps or epoch',
    ]);
  });

  it('is not fooled by the names of object methods, nor by huge or cyclic values', () => {
    expect(linesOf('constructor: 1\n__proto__: 2\ntoString: 3')).toHaveLength(3);
    expect(linesOf(null, JSON.parse('{"__proto__": "1"}'))[0]).toContain('--__proto__: there is no such key');
    const bomb = [
      'a: &a [x,x,x]',
      ...'bcdefghij'.split('').map((l, i) => `${l}: &${l} [${`*${'abcdefghij'[i]},`.repeat(9)}]`),
    ];
    expect(linesOf(`${bomb.join('\n')}\nsplits: *j\ndataset: &y [*y]\nlora_r: *j`).length).toBeGreaterThan(10);
  });
});

describe('trainKeyRows()', () => {
  it('describes every key for a command line', () => {
    const rows = trainKeyRows();
    expect(rows.map((row) => row.name)).toEqual(Object.keys(TRAIN_KEYS).map(snakeCase));
    expect(rows.find((row) => row.name === 'learning_rate')).toEqual({
      ...{ key: 'learningRate', name: 'learning_rate', values: 'number', defaultText: '0.00005' },
      description: 'Peak learning rate.',
    });
    expect(rows.find((row) => row.name === 'lora_target_modules')?.defaultText).toBe('q_proj,k_proj,v_proj,o_proj');
    expect(rows.find((row) => row.name === 'save_strategy')?.values).toBe('no|steps|epoch');
    expect(rows.find((row) => row.name === 'spft')?.defaultText).toBeNull();
  });

  it('has defaults that are valid', () => {
    for (const { name, defaultText } of trainKeyRows()) {
      if (defaultText !== null) expect(() => parse(null, { [name]: defaultText })).not.toThrow();
    }
  });
});
