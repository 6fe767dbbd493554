/** @file What came of `scripts/device/scaling.sh`: reads its folder, compares losses, writes summary.json and a table. Exits 1 where losses do not agree. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [folder] = process.argv.slice(2) as [string];

interface LossRow {
  readonly row: string;
  readonly losses: readonly number[];
  readonly adapters: number;
}
interface SpeedRow {
  readonly row: string;
  readonly msPerStep: number;
  readonly tokensPerSecond: number;
  readonly peakGiB: number;
}
interface Result<Row> {
  readonly what: string;
  readonly ranks: number;
  readonly rows: readonly Row[];
}

const read = <Row>(name: string): Result<Row> | null =>
  existsSync(join(folder, name)) ? (JSON.parse(readFileSync(join(folder, name), 'utf8')) as Result<Row>) : null;

/** Relative: sums over ranks are added in another order. */
const TOLERANCE = 1e-4;

function compareLosses() {
  const alone = read<LossRow>('losses-alone.json');
  if (!alone) return [];
  return ['together', 'sharded'].flatMap((name) => {
    const other = read<LossRow>(`losses-${name}.json`);
    if (!other) return [{ name, row: '-', largest: Number.NaN, adapters: Number.NaN, agrees: false }];
    return alone.rows.map(({ row, losses, adapters }) => {
      const found = other.rows.find((each) => each.row === row);
      const differences = losses.map((loss, n) => Math.abs((found?.losses[n] ?? Number.NaN) - loss) / Math.abs(loss));
      const largest = differences.reduce((a, b) => (b > a || Number.isNaN(b) ? b : a), 0);
      const ofAdapters = Math.abs((found?.adapters ?? Number.NaN) - adapters) / adapters;
      const agrees = largest <= TOLERANCE && ofAdapters <= TOLERANCE && found?.losses.length === losses.length;
      return { name, row, largest, adapters: ofAdapters, agrees };
    });
  });
}

/** Tokens per second, and their share of N times those of one GPU. */
function scaling(prefix: string) {
  const all = readdirSync(folder)
    .filter((name) => name.startsWith(prefix) && name.endsWith('.json'))
    .map((name) => read<SpeedRow>(name)!)
    .sort((a, b) => a.ranks - b.ranks);
  return all.flatMap(({ ranks, rows }) =>
    rows.map(({ row, msPerStep, tokensPerSecond, peakGiB }) => {
      const one = all.find((each) => each.ranks === 1)?.rows.find((each) => each.row === row);
      const efficiency = one ? tokensPerSecond / (ranks * one.tokensPerSecond) : null;
      return { of: prefix, row, ranks, msPerStep, tokensPerSecond, peakGiB, efficiency };
    }),
  );
}

const losses = compareLosses();
const speeds = ['speed-', 'torch-ddp-', 'shards-', 'torch-fsdp-'].flatMap(scaling);
const others = ['bandwidth-2.json', 'bandwidth-4.json', 'bandwidth-8.json', 'kill.json'].flatMap((name) =>
  existsSync(join(folder, name)) ? [[name, JSON.parse(readFileSync(join(folder, name), 'utf8'))]] : [],
);
writeFileSync(
  join(folder, 'summary.json'),
  `${JSON.stringify({ losses, speeds, ...Object.fromEntries(others) }, null, 2)}\n`,
);
for (const { name, row, largest, adapters, agrees } of losses) {
  console.log(
    `${agrees ? 'agrees' : 'DIFFERS'}: ${row} ${name}, losses by ${largest.toExponential(1)}, adapters by ${adapters.toExponential(1)}`,
  );
}
for (const { of, row, ranks, msPerStep, tokensPerSecond, peakGiB, efficiency } of speeds) {
  const share = efficiency === null ? '' : `, ${efficiency.toFixed(3)} of linear`;
  console.log(
    `${of}${ranks} ${row}: ${msPerStep.toFixed(1)} ms, ${Math.round(tokensPerSecond)} tokens/s, ${peakGiB.toFixed(1)} GiB${share}`,
  );
}
process.exit(losses.every(({ agrees }) => agrees) ? 0 : 1);
