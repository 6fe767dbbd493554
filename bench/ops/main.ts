/** @file `npm run bench:ops -- --backend wasm --rounds 15 --only swiglu,rms-norm --json FILE` */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { activateBackend } from '@spft/backends';
import { opsTable, runOps } from './run.js';

const HELP = `Milliseconds of every op at the quickstart's shape, by the backend's kernels and as a composition, after verifying both.

  --backend NAME   default: the best that this machine has
  --rounds N       timed rounds (default 15)
  --only LIST      these ops only
  --note TEXT      goes into the result
  --json FILE      writes the result`;

const { values: flags } = parseArgs({
  options: {
    ...{ backend: { type: 'string' }, rounds: { type: 'string', default: '15' }, only: { type: 'string' } },
    ...{ note: { type: 'string' }, json: { type: 'string' }, help: { type: 'boolean' } },
  },
});

async function main(): Promise<void> {
  const rounds = Number(flags.rounds);
  if (!(Number.isSafeInteger(rounds) && rounds > 0)) {
    throw new RangeError(`--rounds is ${flags.rounds}; wanted a whole number of at least 1`);
  }
  const choice = await activateBackend(flags.backend);
  console.error(choice.why);
  const result = runOps({
    backend: choice.name,
    rounds,
    only: flags.only?.split(','),
    note: flags.note,
    onResult: ({ op }) => console.error(op),
  });
  console.log(opsTable(result.results));
  if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(result, null, 2)}\n`);
}

if (flags.help) console.log(HELP);
else {
  await main().catch((error: Error) => {
    console.error(`bench:ops: ${error.message}`);
    process.exitCode = 1;
  });
}
