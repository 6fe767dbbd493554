import { readFile, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { BASE, fails, scratch, works } from '../../test/run-cli.js';

const at = scratch();
const chat = (...turns: readonly [string, string][]) =>
  JSON.stringify({ messages: turns.map(([role, content]) => ({ role, content })) });

describe('spft data show', () => {
  it('shows which text carries loss, and writes the tokens', async () => {
    const path = at.path('chat.jsonl');
    await writeFile(path, `${chat(['user', 'Hi'], ['assistant', 'Hello'], ['user', 'Bye'], ['assistant', 'Ciao'])}\n`);
    const { stdout } = await works(['data', 'show', path, '--model', BASE, '--json', at.path('shown.json')]);
    expect(stdout).toMatch(/⟦Hello\s*⟧### User:\s+Bye\s+### Assistant:\s+⟦Ciao\s*⟧/);
    expect(stdout).toContain('(template chat)');
    const [shown] = JSON.parse(await readFile(at.path('shown.json'), 'utf8'));
    expect(shown.labels).toHaveLength(shown.inputIds.length);
    expect(shown.pieces.filter((piece: { hasLoss: boolean }) => piece.hasLoss)).toHaveLength(2);
  });

  it('maps columns, and says which there are where one is missing', async () => {
    const path = at.path('d.csv');
    await writeFile(path, 'query,reply\nWhat?,That.\n');
    const columns = ['--dataset_columns', 'instruction=query,output=reply', '--template', 'plain'];
    expect((await works(['data', 'show', path, '--model', BASE, ...columns])).stdout).toContain('⟦That.');
    expect(await fails(['data', 'show', path, '--model', BASE])).toContain("it has 'query', 'reply'");
    expect(await fails(['data', 'show', path, '--dataset_columns', 'instruction=querry,output=reply'])).toContain(
      "lacks the column 'querry' (mapped to instruction); did you mean 'query'?",
    );
  });

  it('warns of rows from which nothing is learned', async () => {
    const path = at.path('questions.jsonl');
    await writeFile(path, `${chat(['user', 'Hi'])}\n`);
    expect((await works(['data', 'show', path, '--model', BASE])).stderr).toContain(
      '1 of 1 rows have no token with a label',
    );
  });
});

describe('spft train on conversations', () => {
  it('takes the chat template, says it, and counts rows without a label', async () => {
    const path = at.path('mixed.jsonl');
    const rows = [
      chat(['user', 'Hi'], ['assistant', 'Hello']),
      chat(['user', 'Hi']),
      chat(['user', 'A'], ['assistant', 'B']),
    ];
    await writeFile(path, `${rows.join('\n')}\n`);
    const { stderr } = await works([
      ...['train', '--model', BASE, '--dataset', path, '--output_dir', at.path('chat'), '--lora_r', '2'],
      ...['--num_train_epochs', '1', '--per_device_train_batch_size', '2'],
    ]);
    expect(stderr).toContain("the prompts are made by the tokenizer's chat template");
    expect(stderr).toContain(
      `1 of 3 rows have no token with a label within 512 tokens and were left out; the first: ${path}:2`,
    );
    expect(JSON.parse(await readFile(at.path('chat', 'spft_run.json'), 'utf8')).template).toBe('chat');
  });
});
