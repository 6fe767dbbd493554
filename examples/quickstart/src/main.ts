/** @file `npm run quickstart`: runs it and prints the table. */
import { join } from 'node:path';
import Table from 'cli-table3';
import { parseOptions, USAGE } from './options.js';
import { type QuickstartResult, quickstart } from './quickstart.js';

const percent = (fraction: number) => `${(100 * fraction).toFixed(1)} %`;

function tableOf({ methods }: QuickstartResult): string {
  const table = new Table({
    head: ['method', 'accuracy before', 'after', 's/step', 'FLOPs', 'speed-up'],
    colAligns: ['left', 'right', 'right', 'right', 'right', 'right'],
    style: { head: [], border: [] },
  });
  const dense = methods[0]!.secondsPerStep;
  for (const m of methods) {
    table.push([
      m.name,
      percent(m.accuracyBefore),
      percent(m.accuracyAfter),
      m.secondsPerStep.toFixed(3),
      percent(m.flopsShare),
      `${(dense / m.secondsPerStep).toFixed(2)}×`,
    ]);
  }
  return table.toString();
}

async function main(argv: readonly string[]): Promise<void> {
  const options = parseOptions(argv);
  if (options === null) {
    console.log(USAGE);
    return;
  }
  const result = await quickstart(options);
  console.log(tableOf(result));
  console.log(`adapters   ${result.methods.map(({ name }) => join(options.out, name)).join(', ')}`);
  console.log(`report     ${join(options.out, 'report.html')}`);
  console.log(`time       ${result.wallSeconds.toFixed(0)} s`);
}

main(process.argv.slice(2)).catch((error: unknown) => {
  const known = error instanceof TypeError || String((error as { code?: unknown }).code).startsWith('SPFT_');
  console.error(known ? `error: ${(error as Error).message}\n\n${USAGE}` : error);
  process.exitCode = 1;
});
