import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { CliIo } from '@spft/cli';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from './math10k.js';

const here = (path: string) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const BASE = here('../quickstart/base');

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'spft-math10k-'));
});
afterAll(() => rm(directory, { recursive: true }));

/** Runs the recipe apart from the user's files; collects what it says on stderr. */
async function runHere(...args: string[]): Promise<{ code: number; said: string }> {
  const said: string[] = [];
  const io: CliIo = {
    stdout: { write: () => true },
    stderr: { write: (text: string) => said.push(text) },
    stdin: (async function* () {})(),
    env: { SPFT_PREDICTORS: join(directory, 'predictors') },
    onInterrupt: () => () => {},
  };
  const code = await run(['--model', BASE, '--dataset', here('small/train.json'), ...args], io);
  return { code, said: said.join('') };
}

describe('math10k', () => {
  it('trains sparsely, saves an adapter and answers the test questions', async () => {
    const [output, json] = [join(directory, 'run'), join(directory, 'summary.json')];
    const evalDataset = `gsm8k=${here('small/test.json')}`;
    const { code, said } = await runHere(
      ...['--sparsity', here('small/sparsity.yaml'), '--eval_dataset', evalDataset, '--eval_limit', '4'],
      ...['--max_steps', '5', '--learning_rate', '2e-3', '--output_dir', output, '--json', json],
    );
    expect(code, said).toBe(0);

    const summary = JSON.parse(await readFile(json, 'utf8'));
    expect(summary).toMatchObject({ method: 'SparseLoRA', steps: 5, samples: 64 });
    expect(summary.lastLoggedLoss).toBeLessThan(summary.firstLoggedLoss);
    expect(summary.flopsShare).toBeGreaterThan(0.3);
    expect(summary.flopsShare).toBeLessThan(0.9);
    expect(summary.evaluations.map((e: { set: string; total: number }) => [e.set, e.total])).toEqual(
      ['gsm8k'].map((set) => [set, 4]),
    );
    // LoRA of the preset, on the layers that upstream adapts.
    const adapter = JSON.parse(await readFile(join(output, 'adapter_config.json'), 'utf8'));
    expect(adapter).toMatchObject({ peft_type: 'LORA', r: 32, lora_alpha: 64 });
  });

  it('is for the model of the paper: its sparsity names layers that a smaller one has not', async () => {
    const { code, said } = await runHere('--eval_dataset', 'none', '--output_dir', join(directory, 'other'));
    expect(code).toBe(1);
    expect(said).toMatch(/layers\.4\.mlp/);
  });
});
