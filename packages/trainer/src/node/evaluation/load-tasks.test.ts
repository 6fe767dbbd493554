import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { serveFiles } from '../../../test/file-server.js';
import { loadTasks } from './load-tasks.js';

const rows = (...answers: string[]) =>
  JSON.stringify(answers.map((answer) => ({ instruction: `why ${answer}?`, input: '', output: '', answer })));

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'spft-tasks-'));
});
afterEach(() => rm(directory, { recursive: true }));

async function file(name: string, content: string): Promise<string> {
  const path = join(directory, name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
  return path;
}

describe('loadTasks()', () => {
  it("loads upstream's sets by name, in upstream's layout and in LLM-Adapters'", async () => {
    const easy = await file('ARC-Easy/test.json', rows('answer1', 'answer4'));
    const social = await file('social_i_qa/test.json', rows('answer3'));
    const svamp = await file('svamp/test.json', rows('5.0'));
    const tasks = await loadTasks('arc-easy+social-iqa+svamp', { datasetsDir: directory, download: false });
    expect(tasks.map(({ name, file, maxNewTokens, examples }) => [name, file, maxNewTokens, examples.length])).toEqual([
      ['arc-easy', easy, 32, 2],
      ['social-iqa', social, 32, 1],
      ['svamp', svamp, 256, 1],
    ]);
    expect(tasks[2]?.examples[0]).toEqual({ instruction: 'why 5.0?', input: '', answer: '5.0' });
  });

  it('downloads what is missing to the place that upstream gives it', async () => {
    const server = await serveFiles({ '/dataset/SVAMP/test.json': (_, response) => response.end(rows('1')) });
    try {
      const [task] = await loadTasks('SVAMP', { datasetsDir: directory, baseUrl: server.url });
      expect(task?.file).toBe(join(directory, 'svamp', 'test.json'));
      expect(server.asked).toEqual(['/dataset/SVAMP/test.json']);
    } finally {
      await server.close();
    }
  });

  it('tells the kind of a file by its directory, its name, its prefix or its answers', async () => {
    const paths = [
      await file('piqa/test.json', rows('solution2')),
      await file('hellaswag.jsonl', '{"instruction": "x", "answer": "ending4"}\n'),
      `winogrande=${await file('mine/w.json', rows('option1'))}`,
      await file('mine/held-out.json', rows('12', '-0.5')),
      await file('mine/gsm.jsonl', '{"question": "x", "answer": "so\\n#### 1,080"}\n'),
    ];
    const tasks = await loadTasks(paths.join('+'));
    expect(tasks.map((t) => [t.name, t.answers.name, t.examples[0]?.answer])).toEqual([
      ['piqa', 'solution', 'solution2'],
      ['hellaswag', 'ending', 'ending4'],
      ['winogrande', 'option', 'option1'],
      ['held-out', 'number', '12'],
      ['gsm', 'number', '1080'],
    ]);
  });

  it('names file and line of a row without an answer of its kind, or skips it', async () => {
    const path = await file(
      'gsm8k/test.json',
      '[{"instruction": "x", "answer": "C"},\n{"instruction": "x", "answer": 2}]',
    );
    await expect(loadTasks(path)).rejects.toThrow(`${path}:1: wanted number as 'answer', found 'C'`);
    const [task] = await loadTasks(path, { skipBadRows: true });
    expect([task?.examples.length, task?.badRows.length]).toEqual([1, 1]);
    const without = await file('boolq.json', '[{"instruction": "x", "output": "y"}]');
    await expect(loadTasks(without)).rejects.toThrow(`${without}:1: lacks 'answer' (a string or a number)`);
    const mixed = await file('mixed.json', rows('1', 'true'));
    await expect(loadTasks(mixed)).rejects.toThrow('say of which kind it is: gsm8k=FILE');
  });

  it('refuses what there is not', async () => {
    await expect(loadTasks('gsm8')).rejects.toThrow("there is no evaluation set 'gsm8'; did you mean 'gsm8k'?");
    await expect(loadTasks('./absent.json')).rejects.toThrow('./absent.json: there is no such file');
    await expect(loadTasks('gsm8k=absent.json')).rejects.toThrow('absent.json: there is no such file');
  });
});
