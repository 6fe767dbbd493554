import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { BASE, fails, scratch, works } from '../../test/run-cli.js';

const at = scratch();
const lines = async (...parts: string[]) =>
  (await readFile(at.path(...parts), 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

describe('spft humaneval', () => {
  it('writes whole programs for EvalPlus, the same ones from the same seed', async () => {
    const problem = { task_id: 'HumanEval/0', prompt: 'def add(a):\n    """ Add. """\n', entry_point: 'add' };
    await writeFile(at.path('p.jsonl'), `${JSON.stringify(problem)}\n`);
    const run = (out: string, seed: string) =>
      works([
        'humaneval',
        '--model',
        BASE,
        '--problems',
        at.path('p.jsonl'),
        '--samples',
        '2',
        '--max_new_tokens',
        '6',
        '--seed',
        seed,
        '--out',
        at.path(out),
      ]);
    await run('a.jsonl', '1');
    await run('b.jsonl', '1');
    await run('c.jsonl', '2');
    const a = await lines('a.jsonl');
    expect(a).toHaveLength(2);
    expect(Object.keys(a[0])).toEqual(['task_id', 'solution']);
    expect(a[0].solution).toContain('def add');
    expect(await lines('b.jsonl')).toEqual(a);
    expect(await lines('c.jsonl')).not.toEqual(a);
    await writeFile(at.path('bad.jsonl'), '{"task_id": "x"}\n');
    expect(await fails(['humaneval', '--model', BASE, '--problems', at.path('bad.jsonl')])).toContain(
      "bad.jsonl:1: wanted a string in 'prompt'",
    );
  });
});

describe('spft mt-bench', () => {
  it('prints the table, writes CSV and JSON, and warns of what is missing', async () => {
    const questions = [{ question_id: 81, category: 'writing', turns: ['a', 'b'] }];
    const judgments = [
      { question_id: 81, model: 'm', turn: 1, score: -1 },
      { question_id: 81, model: 'm', turn: 1, score: 7 },
    ];
    await writeFile(at.path('q.jsonl'), questions.map((row) => JSON.stringify(row)).join('\n'));
    await writeFile(at.path('j.jsonl'), judgments.map((row) => JSON.stringify(row)).join('\n'));
    const files = ['--judgment', at.path('j.jsonl'), '--question', at.path('q.jsonl')];
    const { stdout, stderr } = await works([
      'mt-bench',
      ...files,
      '--csv',
      at.path('t.csv'),
      '--json',
      at.path('t.json'),
    ]);
    expect(stdout).toMatch(/m +│ +7\.00 │ +7\.00/);
    expect(stderr).toContain('m: 1 turns have no judgment: 81 turn 2');
    expect(await readFile(at.path('t.csv'), 'utf8')).toBe('Model,writing,Average\nm,7,7\n');
    const [model] = JSON.parse(await readFile(at.path('t.json'), 'utf8')).models;
    expect(model).toMatchObject({ model: 'm', average: 7, categories: { writing: 7 }, withoutRating: 0 });
    expect((await works(['mt-bench', ...files, '--as_published'])).stdout).toMatch(/m +│ +3\.00/);
  });

  it('answers both turns in FastChat’s form', async () => {
    await writeFile(
      at.path('q2.jsonl'),
      JSON.stringify({ question_id: 101, category: 'reasoning', turns: ['a', 'b'] }),
    );
    await works([
      'mt-bench',
      'answers',
      '--model',
      BASE,
      '--question',
      at.path('q2.jsonl'),
      '--max_new_tokens',
      '3',
      '--out',
      at.path('ans.jsonl'),
    ]);
    const [answer] = await lines('ans.jsonl');
    expect(answer).toMatchObject({ question_id: 101, model_id: BASE, choices: [{ index: 0 }] });
    expect(answer.choices[0].turns).toHaveLength(2);
  });
});

describe('spft arc', () => {
  it('samples every test input, and leaves predictions, score and pictures', async () => {
    const pair = { input: [[1, 2]], output: [[2, 1]] };
    await mkdir(at.path('arc'));
    await writeFile(at.path('arc', 't.json'), JSON.stringify({ train: [pair], test: [pair, pair] }));
    const argv = [
      'arc',
      '--model',
      BASE,
      '--tasks',
      at.path('arc'),
      '--max_new_tokens',
      '4',
      '--out',
      at.path('arc-out'),
    ];
    expect((await works(argv)).stdout).toContain('2 test inputs');
    const predictions = await lines('arc-out', 'predictions.jsonl');
    expect(predictions).toHaveLength(2);
    expect(predictions[0].samples[0]).toMatchObject({
      grid: null,
      problem: 'there is no fence with a grid in it',
      correct: false,
    });
    expect(JSON.parse(await readFile(at.path('arc-out', 'score.json'), 'utf8'))).toMatchObject({
      samples: 2,
      byTask: { '1': 0, '2': 0 },
    });
    expect(await readFile(at.path('arc-out', 'grids.html'), 'utf8')).toContain('<figcaption>wanted</figcaption>');
    await writeFile(
      at.path('arc', 'u.json'),
      JSON.stringify({ train: [{ input: [[1], [1, 2]], output: [[1]] }], test: [pair] }),
    );
    expect(await fails(argv)).toContain('u.json: train pair 1: row 2 of a grid has 2 cells, the first 1: it is ragged');
  });
});
