/**
 * @file Makes train.json and test.json: sums that a child can do, in the format of math_10k.json and of the arithmetic test sets.
 * `node make-data.mjs`; the same files every time.
 */
import { writeFileSync } from 'node:fs';

let state = 20250606;
const below = (n) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * n);
};
const one = (list) => list[below(list.length)];

const people = ['Anna', 'Ben', 'Carl', 'Lily', 'Max', 'Rosa'];
const things = ['apples', 'books', 'cards', 'eggs', 'stamps', 'toys'];

function question() {
  const [who, what] = [one(people), one(things)];
  const [a, b] = [2 + below(9), 2 + below(9)];
  const kind = below(3);
  if (kind === 0) {
    return {
      instruction: `${who} has ${a} ${what} and finds ${b} more. How many ${what} does ${who} have now?`,
      reason: `${who} has ${a} ${what}. ${b} more makes ${a} + ${b} = ${a + b}.`,
      answer: a + b,
    };
  }
  if (kind === 1) {
    return {
      instruction: `${who} has ${a + b} ${what} and gives ${b} of them away. How many ${what} are left?`,
      reason: `${who} has ${a + b} ${what}. Without ${b} of them there are ${a + b} - ${b} = ${a} left.`,
      answer: a,
    };
  }
  return {
    instruction: `There are ${a} bags with ${b} ${what} in each. How many ${what} is that?`,
    reason: `${a} bags of ${b} ${what} are ${a} * ${b} = ${a * b} ${what}.`,
    answer: a * b,
  };
}

const seen = new Set();
function rows(count) {
  const made = [];
  while (made.length < count) {
    const { instruction, reason, answer } = question();
    if (seen.has(instruction)) continue;
    seen.add(instruction);
    made.push({ instruction, input: '', output: `\nA: ${reason} The answer is ${answer}.`, answer: `${answer}.0` });
  }
  return made;
}

for (const [name, count] of Object.entries({ train: 64, test: 16 })) {
  writeFileSync(new URL(`${name}.json`, import.meta.url), `${JSON.stringify(rows(count), null, 2)}\n`);
}
