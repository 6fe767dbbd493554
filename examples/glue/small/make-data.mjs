/** Writes small data of our own in the form of GLUE's SST-2: sentences that are positive or negative. */
import { mkdirSync, writeFileSync } from 'node:fs';

const good = ['wonderful', 'moving', 'a joy', 'clever', 'bright and warm', 'worth every minute'];
const bad = ['dull', 'a mess', 'tiresome', 'flat and cold', 'without any wit', 'a waste of time'];
const subjects = ['the film', 'this story', 'her performance', 'the ending', 'its humour', 'the dialogue'];
const rows = subjects.flatMap((subject) => [
  ...good.map((word) => `${subject} is ${word}\t1`),
  ...bad.map((word) => `${subject} is ${word}\t0`),
]);
/** Another word of each subject, so that every word is in both. */
const isHeldOut = (n) => (n + Math.floor(n / 12)) % 4 === 0;
const split = { train: rows.filter((_, n) => !isHeldOut(n)), dev: rows.filter((_, n) => isHeldOut(n)) };
const directory = new URL('SST-2/', import.meta.url);
mkdirSync(directory, { recursive: true });
for (const [name, lines] of Object.entries(split)) {
  writeFileSync(new URL(`${name}.tsv`, directory), `sentence\tlabel\n${lines.join('\n')}\n`);
}
