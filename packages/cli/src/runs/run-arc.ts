/** @file ARC-AGI from the command line: samples for every test input, pass@k, predictions as JSON and as a page of pictures. */
import { join } from 'node:path';
import { writeFileAtomically } from '@spft/safetensors/node';
import { type ArcAnswer, arcMessages, type Grid, gridOf, sameGrid, scoreArc } from '@spft/trainer/benchmarks';
import { readArcTasks } from '@spft/trainer/node';
import { type WriterFlags, withWriter } from '../steps/open-writer.js';
import { JsonlWriter } from '../terminal/jsonl-writer.js';
import type { Output } from '../terminal/output.js';
import { percent, table } from '../terminal/table.js';

export interface ArcFlags extends WriterFlags {
  readonly tasks: string;
  readonly samples: number;
  readonly out: string;
  readonly limit?: number;
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly seed: number;
  readonly maxNewTokens: number;
  readonly skipBadRows?: boolean;
}

export async function runArc(flags: ArcFlags, backend: string | undefined, output: Output): Promise<void> {
  const { tasks, badRows } = await readArcTasks(flags.tasks, flags.skipBadRows);
  if (badRows.length > 0)
    output.warn(`${badRows.length} files are no tasks and were skipped; the first: ${badRows[0]!.problem}`);
  const inputs = tasks
    .slice(0, flags.limit)
    .flatMap((task) => task.test.map((test, testIndex) => ({ task, test, testIndex })));
  const { temperature, topP, topK, maxNewTokens } = flags;
  const answers: ArcAnswer[] = [];
  await withWriter(flags, backend, output, async ({ opened, write }) => {
    const { tokenizer } = opened;
    const status = output.task('samples');
    const file = await JsonlWriter.open(join(flags.out, 'predictions.jsonl'));
    try {
      for (const [n, { task, test, testIndex }] of inputs.entries()) {
        const prompt = tokenizer.applyChatTemplate(arcMessages(task.train, test.input), { addGenerationPrompt: true });
        const ids = tokenizer.encode(prompt, { addSpecialTokens: false });
        const texts = await write(new Array<number[]>(flags.samples).fill(ids), {
          ...{ maxNewTokens, doSample: temperature > 0, seed: flags.seed + n },
          ...(temperature > 0 ? { temperature, topP, topK } : {}),
        });
        const got = texts.map(gridOf);
        answers.push({ task: task.id, testIndex, wanted: test.output, got });
        await file.write({
          task: task.id,
          test_index: testIndex,
          wanted: test.output,
          samples: texts.map((text, s) => {
            const grid = got[s]!;
            const isGrid = typeof grid !== 'string';
            return {
              text,
              grid: isGrid ? grid : null,
              problem: isGrid ? null : grid,
              correct: isGrid && sameGrid(grid, test.output),
            };
          }),
        });
        status.update((n + 1) / inputs.length);
      }
      status.done(`${flags.samples} for each of ${inputs.length} test inputs`);
    } catch (error) {
      status.fail();
      throw error;
    } finally {
      await file.close();
    }
  });
  const score = scoreArc(answers);
  const ks = Object.keys(score.byInput);
  output.print(
    table(
      ['', ...ks.map((k) => `pass@${k}`)],
      [
        [`${score.inputs} test inputs`, ...ks.map((k) => percent(score.byInput[k]!))],
        [`${score.tasks} tasks`, ...ks.map((k) => percent(score.byTask[k]!))],
      ],
    ),
  );
  if (score.withoutGrid > 0) output.warn(`${score.withoutGrid} samples have no grid`);
  await writeText(join(flags.out, 'score.json'), `${JSON.stringify(score, null, 2)}\n`);
  await writeText(join(flags.out, 'grids.html'), page(answers));
  output.print(flags.out);
}

const writeText = (path: string, text: string) => writeFileAtomically(path, (handle) => handle.writeFile(text));

/** ARC's own colours. */
const COLOURS = [
  '#000',
  '#0074d9',
  '#ff4136',
  '#2ecc40',
  '#ffdc00',
  '#aaa',
  '#f012be',
  '#ff851b',
  '#7fdbff',
  '#870c25',
];
const CELL = 8;

function picture(grid: Grid): string {
  const cells = grid.flatMap((row, y) =>
    row.map(
      (cell, x) => `<rect x="${x * CELL}" y="${y * CELL}" width="${CELL}" height="${CELL}" fill="${COLOURS[cell]}"/>`,
    ),
  );
  const [width, height] = [grid[0]!.length * CELL, grid.length * CELL];
  return `<svg width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">${cells.join('')}</svg>`;
}

const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');

/** What was wanted beside what each sample gave. */
function page(answers: readonly ArcAnswer[]): string {
  const rows = answers.map(({ task, testIndex, wanted, got }) => {
    const samples = got.map((grid) =>
      typeof grid === 'string'
        ? `<figure><p>${escaped(grid)}</p><figcaption>no grid</figcaption></figure>`
        : `<figure>${picture(grid)}<figcaption>${sameGrid(grid, wanted) ? 'right' : 'wrong'}</figcaption></figure>`,
    );
    return `<section><h2>${escaped(task)}, input ${testIndex + 1}</h2><figure>${picture(wanted)}<figcaption>wanted</figcaption></figure>${samples.join('')}</section>`;
  });
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>ARC: wanted and got</title><style>body{font:14px system-ui;margin:2em}section{display:flex;flex-wrap:wrap;gap:1em;align-items:end;border-bottom:1px solid #ccc;padding:1em 0}h2{width:100%;font-size:1em;margin:0}figure{margin:0}svg{border:1px solid #555}p{max-width:14em}</style><h1>Wanted and got</h1>${rows.join('')}</html>\n`;
}
