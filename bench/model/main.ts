/**
 * @file `npm run bench -- --shape base --backend wasm --methods lora,dora,sparselora --steps 20 --json FILE`
 *
 * Memory is measured in a process for each method, which is this file again with `--memory_of`.
 */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { activateBackend } from '@spft/backends';
import { type Memory, measureMemory } from './measure.js';
import type { MethodName } from './methods.js';
import { benchTable, parseMethods, runBench } from './run.js';
import { shapeNamed } from './shapes.js';

const HELP = `Seconds a step, tokens/s, memory and share of FLOPs of dense LoRA, DoRA and SparseLoRA side by side, after verifying that they agree.

  --shape NAME       base, smollm2-135m, tiny (default base)
  --backend NAME     default: the best that this machine has
  --methods LIST     of lora, dora, sparselora (default all)
  --steps N          timed steps of each method, in turns (default 10)
  --warmup N         steps before (default 2)
  --batch N          sequences a batch, --length N tokens of each (default: the shape's)
  --context SHARE    of each sequence that is context: without labels, sparse (default 0.75)
  --no_memory        leave memory out
  --note TEXT        goes into the result
  --json FILE        writes the result`;

const { values: flags } = parseArgs({
  options: {
    ...{ shape: { type: 'string', default: 'base' }, backend: { type: 'string' } },
    ...{ methods: { type: 'string', default: 'lora,dora,sparselora' }, json: { type: 'string' } },
    ...{ steps: { type: 'string', default: '10' }, warmup: { type: 'string', default: '2' } },
    ...{ batch: { type: 'string' }, length: { type: 'string' }, context: { type: 'string', default: '0.75' } },
    ...{ no_memory: { type: 'boolean', default: false }, note: { type: 'string' }, help: { type: 'boolean' } },
    memory_of: { type: 'string' },
  },
});

function whole(name: 'steps' | 'warmup' | 'batch' | 'length', least: number, otherwise?: number): number {
  const number = Number(flags[name] ?? otherwise);
  if (Number.isSafeInteger(number) && number >= least) return number;
  throw new RangeError(`--${name} is ${flags[name]}; wanted a whole number of at least ${least}`);
}

async function main(): Promise<void> {
  const shape = shapeNamed(flags.shape);
  const context = Number(flags.context);
  if (!(context >= 0 && context < 1)) throw new RangeError(`--context is ${flags.context}; wanted at least 0, below 1`);
  const batch = { batch: whole('batch', 1, shape.batch), length: whole('length', 2, shape.length), context };
  const choice = await activateBackend(flags.backend);

  if (flags.memory_of !== undefined) {
    const memory = await measureMemory(shape, parseMethods(flags.memory_of)[0]!, batch);
    process.stdout.write(JSON.stringify(memory));
    return;
  }
  console.error(choice.why);
  const result = await runBench({
    ...batch,
    shape,
    backend: choice.name,
    methods: parseMethods(flags.methods),
    steps: whole('steps', 1),
    warmup: whole('warmup', 0),
    memoryOf: flags.no_memory ? null : async (method) => memoryInProcess(method, choice.name),
    note: flags.note,
    onProgress: (message) => console.error(message),
  });
  const { tokens, sparseTokens, labelledTokens, environment } = result;
  console.log(`${shape.name} on ${environment.backend}, ${environment.device}, Node ${environment.node}`);
  console.log(`${tokens} tokens a step, ${sparseTokens} of them sparse in SparseLoRA, ${labelledTokens} labelled`);
  for (const fact of result.verified) console.log(`verified: ${fact}`);
  console.log(benchTable(result));
  if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(result, null, 2)}\n`);
}

function memoryInProcess(method: MethodName, backend: string): Memory {
  const given = ['shape', 'batch', 'length', 'context'] as const;
  const passed = given.flatMap((name) => (flags[name] === undefined ? [] : [`--${name}`, flags[name]]));
  const { status, stdout } = spawnSync(
    process.execPath,
    [fileURLToPath(import.meta.url), '--memory_of', method, '--backend', backend, ...passed],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] },
  );
  if (status !== 0) throw new Error(`measuring the memory of ${method} failed (exit code ${status})`);
  return JSON.parse(stdout) as Memory;
}

if (flags.help) console.log(HELP);
else {
  await main().catch((error: Error) => {
    console.error(`bench: ${error.message}`);
    process.exitCode = 1;
  });
}
