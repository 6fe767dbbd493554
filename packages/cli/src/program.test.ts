import { trainKeyRows } from '@spft/config';
import { describe, expect, it } from 'vitest';
import { fails, spft, works } from '../test/run-cli.js';

describe('spft', () => {
  it('prints its version and nothing else', async () => {
    expect(await works(['--version'])).toEqual({ code: 0, stdout: '0.0.0\n', stderr: '' });
  });

  it('names its commands, and fails where none is given', async () => {
    const { stdout } = await works(['--help']);
    for (const name of ['train', 'eval', 'generate', 'predictor', 'merge', 'config', 'doctor']) {
      expect(stdout).toMatch(new RegExp(`^  ${name}\\b`, 'm'));
    }
    expect((await spft([])).code).toBe(1);
  });

  it.each([
    [['trian'], "error: unknown command 'trian'\n(Did you mean train?)\n"],
    [['config', 'chek', 'x'], "error: unknown command 'chek'\n(Did you mean check?)\n"],
    [['train', '--learning_rte', '1'], "error: unknown option '--learning_rte'\n(Did you mean --learning_rate?)\n"],
    [['merge', '--adpter', 'x'], "error: unknown option '--adpter'\n(Did you mean --adapter?)\n"],
    [['generate', '--prompt', 'x'], "error: required option '--model <dir>' not specified\n"],
    [['train', '--learning_rate'], "error: option '--learning_rate <number>' argument missing\n"],
  ])('%j: names what was probably meant', async (argv, message) => {
    expect(await fails(argv)).toBe(message);
  });

  it('checks values of flags where they are read', async () => {
    const generate = ['generate', '--model', 'x', '--prompt', 'y'];
    expect(await fails([...generate, '--temperature', '-1'])).toContain('Wanted a number from 0 to 100.');
    expect(await fails([...generate, '--top-p', '0'])).toContain('Wanted a number from 1e-9 to 1.');
    expect(await fails([...generate, '--max-new-tokens', '1.5'])).toContain('Wanted a whole number of at least 1.');
    const merge = ['merge', '--model', 'x', '--adapter', 'y', '--out', 'z', '--dtype', 'f16'];
    expect(await fails(merge)).toContain('Wanted one of bf16, f32.');
  });

  it.each([
    ['merge', '--model', 'x', '--adapter', 'y', '--out', ''],
    ['predictor', 'build', '--model', 'x', '--out', ' '],
    ['train', '--model', 'x', '--dataset', 'y', '--output_dir', ''],
    ['export', '--model', 'x', '--gguf', ''],
    ['speed', '--shape', 'quickstart', '--json', ''],
  ])('takes no empty text for a name: %j', async (...argv) => {
    // As a path it would be the working directory: what a script's variable holds that was never set.
    const message = await fails(argv);
    expect(message).toMatch(new RegExp(`option '${argv.at(-2)} <.*>' argument '\\s*' is invalid. It is empty.`));
  });

  it('shows every training key with its default in the help of train', async () => {
    const { stdout } = await works(['train', '--help']);
    const text = stdout.replace(/\s+/g, ' ');
    const rows = trainKeyRows();
    expect(rows.length).toBeGreaterThan(60);
    for (const { name, defaultText } of rows) {
      expect(text).toContain(`--${name}`);
      if (defaultText !== null)
        expect(text).toMatch(new RegExp(`--${name} [^-].*?default: ${escaped(defaultText)}\\)`));
    }
    expect(text).toContain('--model <text>');
    expect(text).toContain('--sparsity <text>');
    expect(text).not.toContain('--learning-rate');
  });
});

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
