/** Writes small data of our own in the forms of WizardLM_evol_instruct_70k (`instruction`, `output`) and of MT-Bench's questions and judgments. */
import { writeFileSync } from 'node:fs';

const animals = ['cat', 'dog', 'horse', 'owl', 'fox', 'bee'];
const tasks = [
  ['Write a sentence about a', (one) => `The ${one} sleeps in the sun.`],
  ['Name two things that are true of a', (one) => `A ${one} is an animal. A ${one} eats.`],
  ['Ask a question about a', (one) => `Where does the ${one} live?`],
  ['Describe for a child what is special about a', (one) => `No other animal is quite like the ${one}.`],
];
const rows = animals.flatMap((one) =>
  tasks.map(([instruction, output]) => ({ instruction: `${instruction} ${one}.`, output: output(one) })),
);
const questions = [
  [81, 'writing', ['Write a line about rain.', 'Now one about snow.']],
  [101, 'reasoning', ['Tom is older than Ann. Who is younger?', 'And if they were born on one day?']],
  [111, 'math', ['What is 2 + 3?', 'And twice that?']],
].map(([question_id, category, turns]) => ({ question_id, category, turns }));
/** As a judge might have rated two models; one answer got no rating, and one judgment was repeated. */
const ratings = { careful: [8, 7, 9, -1, 10, 9], hasty: [5, 4, 6, 5, 7, 3] };
const judgments = Object.entries(ratings).flatMap(([model, scores]) =>
  scores.map((score, n) => ({
    question_id: questions[n >> 1].question_id,
    model,
    judge: ['gpt-4', 'single-v1'],
    user_prompt: '',
    judgment: score < 0 ? 'The answer is fine.' : `The answer is fine. Rating: [[${score}]]`,
    score,
    turn: 1 + (n % 2),
    tstamp: 1_700_000_000 + n,
  })),
);
judgments.push({
  ...judgments.at(-1),
  score: 4,
  judgment: 'Better than I thought. Rating: [[4]]',
  tstamp: 1_700_000_100,
});
const lines = (values) => `${values.map((value) => JSON.stringify(value)).join('\n')}\n`;
writeFileSync(new URL('train.jsonl', import.meta.url), lines(rows));
writeFileSync(new URL('question.jsonl', import.meta.url), lines(questions));
writeFileSync(new URL('judgment.jsonl', import.meta.url), lines(judgments));
