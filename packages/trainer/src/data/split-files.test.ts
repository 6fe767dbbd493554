import { describe, expect, it } from 'vitest';
import { splitFiles } from './split-files.js';

const GLUE = [
  'README.md',
  'rte/train-00000-of-00001.parquet',
  'rte/validation-00000-of-00001.parquet',
  'mnli/train-00000-of-00001.parquet',
  'mnli/validation_matched-00000-of-00001.parquet',
  'mnli/validation_mismatched-00000-of-00001.parquet',
];

describe('splitFiles()', () => {
  it('follows the README', () => {
    const configs = ['rte', 'mnli'].map((config_name) => ({
      config_name,
      data_files: [
        { split: 'train', path: `${config_name}/train-*` },
        { split: 'validation', path: `${config_name}/validation-*` },
      ],
    }));
    expect(splitFiles(GLUE, configs, { config: 'rte', split: 'validation' }, 'glue')).toEqual([GLUE[2]]);
    expect(() => splitFiles(GLUE, configs, { config: null, split: 'train' }, 'glue')).toThrow(
      'choose one by --dataset_config: rte, mnli',
    );
    expect(() => splitFiles(GLUE, configs, { config: 'rtee', split: 'train' }, 'glue')).toThrow(
      "no subset 'rtee'; did you mean 'rte'?",
    );
    expect(() => splitFiles(GLUE, configs, { config: 'rte', split: 'validaton' }, 'glue')).toThrow(
      "has no split 'validaton'; did you mean 'validation'? (there are train, validation)",
    );
  });

  it('follows the words of names where there is no README', () => {
    expect(splitFiles(GLUE, [], { config: 'mnli', split: 'validation_mismatched' }, 'glue')).toEqual([GLUE[5]]);
    expect(splitFiles(['data.jsonl', '.gitattributes'], [], { config: null, split: 'train' }, 'x')).toEqual([
      'data.jsonl',
    ]);
    expect(splitFiles(['b/dev.tsv', 'a/train.tsv'], [], { config: null, split: 'validation' }, 'x')).toEqual([
      'b/dev.tsv',
    ]);
    expect(() => splitFiles(['a/train.tsv'], [], { config: null, split: 'test' }, 'x')).toThrow(
      "has no split 'test' (there is train)",
    );
    expect(() => splitFiles(['code.py'], [], { config: null, split: 'train' }, 'x')).toThrow(
      'has no file that is read',
    );
  });
});
