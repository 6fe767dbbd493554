import { cp, readFile, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { BASE, fails, scratch, works } from '../../test/run-cli.js';

const at = scratch();
const generate = (...more: string[]) => ['generate', '--model', BASE, '--max_new_tokens', '12', ...more];

describe('spft generate', () => {
  it('streams the continuation of a prompt', async () => {
    const { stdout, stderr } = await works(generate('--prompt', 'Max has 2 apples.'));
    expect(stdout).toMatch(/^ Max has 13 keys\..*\n$/);
    expect(stderr).toContain('model ');
  });

  it('answers lines of stdin one a line, in batches as one by one', async () => {
    const lines = ['Max has 2 apples.', 'Rosa', 'Hugo has 14'];
    const together = await works(generate('--quiet'), { stdin: `${lines.join('\n')}\n\n` });
    const alone = await works(generate('--quiet', '--batch_size', '1'), { stdin: lines.join('\n') });
    expect(together.stdout.trimEnd().split('\n')).toHaveLength(3);
    expect(together).toEqual(alone);
    expect(together.stderr).toBe('');
  });

  it('draws what the seed says', async () => {
    const draw = (seed: string) =>
      works(generate('--prompt', 'Max', '--temperature', '1.5', '--top_k', '50', '--seed', seed));
    const [a, b, c] = [await draw('1'), await draw('1'), await draw('2')];
    expect(a.stdout).toBe(b.stdout);
    expect(a.stdout).not.toBe(c.stdout);
    const greedy = await works(generate('--prompt', 'Max', '--temperature', '0', '--top_p', '0.5'));
    expect(greedy.stderr).toContain('top_p and top_k have no effect: at temperature 0');
  });

  it('puts a template around the prompt, and chats by the template of the model', async () => {
    const instruction = ['--prompt', 'How many apples does Max have?'];
    const texts = new Set<string>();
    for (const more of [[], ['--template', 'plain'], ['--template', 'alpaca']]) {
      texts.add((await works(generate(...instruction, ...more))).stdout);
    }
    expect(texts.size).toBe(3);
    const { stdout } = await works(generate('--chat', '--max_new_tokens', '3'), { stdin: 'hello\nand now\n' });
    expect(stdout.match(/\n/g)!.length).toBeGreaterThanOrEqual(2);
  });

  it('says once where a text goes on beyond what the model was trained on', async () => {
    await cp(BASE, at.path('short'), { recursive: true });
    const config = JSON.parse(await readFile(at.path('short', 'config.json'), 'utf8'));
    await writeFile(at.path('short', 'config.json'), JSON.stringify({ ...config, max_position_embeddings: 8 }));
    const beyond = [...generate('--batch_size', '1'), '--model', at.path('short')];
    const { stderr } = await works(beyond, { stdin: 'Max has 2 apples.\nRosa\n' });
    expect(stderr.match(/the model was trained on 8 positions/g)).toHaveLength(1);
    expect((await works(generate('--prompt', 'Rosa'))).stderr).not.toContain('positions');
  });

  it('says what is missing', async () => {
    expect(await fails(generate('--prompt', ''))).toContain('--prompt is empty');
    expect(await fails(generate())).toContain('there is no prompt: give --prompt TEXT, or lines on stdin');
    expect(await fails(generate('--chat'))).toContain('there is no message');
    expect(await fails(generate('--prompt', 'x', '--chat', '--template', 'plain'))).toContain('give one');
    expect(await fails(generate('--prompt', 'x', '--backend', 'metal'))).toContain(
      "backend 'metal' is unknown; known are",
    );
  });
});
