/** Writes small tasks of our own in the form of ARC-AGI: a mirror, a change of colour, a fill. */
import { mkdirSync, writeFileSync } from 'node:fs';

const grids = [
  [
    [1, 0],
    [0, 2],
  ],
  [
    [3, 3],
    [0, 1],
  ],
  [
    [0, 4],
    [2, 0],
  ],
  [
    [5, 0],
    [5, 1],
  ],
];
const tasks = {
  mirror: (grid) => grid.map((row) => [...row].reverse()),
  recolour: (grid) => grid.map((row) => row.map((cell) => (cell === 0 ? 0 : 8))),
  fill: (grid) => grid.map((row) => row.map((cell) => (cell === 0 ? 6 : cell))),
};
const directory = new URL('tasks/', import.meta.url);
mkdirSync(directory, { recursive: true });
for (const [name, rule] of Object.entries(tasks)) {
  const pairs = grids.map((input) => ({ input, output: rule(input) }));
  const task = { train: pairs.slice(0, 3), test: pairs.slice(3) };
  writeFileSync(new URL(`${name}.json`, directory), `${JSON.stringify(task)}\n`);
}
