/**
 * @file Makes train.json, boolq.json and openbookqa.json: questions about a handful of things, in the format of commonsense_170k.json and
 * of its test sets. `node make-data.mjs`; the same files every time.
 */
import { writeFileSync } from 'node:fs';

let state = 20250607;
const below = (n) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * n);
};
const one = (list) => list[below(list.length)];

const kinds = {
  'an animal': ['cat', 'dog', 'horse', 'fish', 'bird', 'mouse'],
  'a fruit': ['apple', 'pear', 'plum', 'cherry', 'lemon'],
  'a tool': ['hammer', 'saw', 'file', 'drill', 'wrench'],
  'a color': ['red', 'green', 'blue', 'yellow', 'black'],
};
const names = Object.keys(kinds);
const row = (instruction, answer) => ({ instruction, input: '', output: `the correct answer is ${answer}`, answer });

function boolq() {
  const [kind, other] = [one(names), one(names)];
  const thing = one(kinds[other]);
  return row(
    `Please answer the following question with true or false, question: is "${thing}" the name of ${kind}?\n\nAnswer format: true/false`,
    String(kind === other),
  );
}

function openbookqa() {
  const kind = one(names);
  const choices = [...names].sort(() => below(2) - 0.5).map((name) => ({ name, thing: one(kinds[name]) }));
  const list = choices.map(({ thing }, n) => `Answer${n + 1}: ${thing}`).join(' ');
  return row(
    `Please choose the correct answer to the question: Which of these is ${kind}?\n\n${list}\n\nAnswer format: answer1/answer2/answer3/answer4`,
    `answer${choices.findIndex(({ name }) => name === kind) + 1}`,
  );
}

const seen = new Set();
function rows(count, make) {
  const made = [];
  while (made.length < count) {
    const next = make();
    if (seen.has(next.instruction)) continue;
    seen.add(next.instruction);
    made.push(next);
  }
  return made;
}

const sets = {
  train: [56, () => (below(2) ? boolq() : openbookqa())],
  boolq: [12, boolq],
  openbookqa: [12, openbookqa],
};
for (const [name, [count, make]] of Object.entries(sets)) {
  writeFileSync(new URL(`${name}.json`, import.meta.url), `${JSON.stringify(rows(count, make), null, 2)}\n`);
}
