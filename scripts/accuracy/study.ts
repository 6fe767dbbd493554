/**
 * @file The study of accuracy: LoRA, DoRA and SparseLoRA by several estimators on a real model, over seeds, by several processes at once.
 *
 *   study prepare --datasets DIR --out DATA [--math N --csr N --questions N]
 *   study run --model DIR|GGUF --data DATA --out OUT [--what rows|ablations|final|qlora|screen|table] [--sets mawps] [--seconds S] [--jobs N] [--gpus N] [--seeds 0,1,2] [--backend cuda] [--trace] [--tiny]
 *   study merge --out OUT [--what PART] [--result bench/results/accuracy-smollm2.json] [--machine TEXT]
 *
 * `run` starts no job that it would not finish in time, writes each job's numbers to OUT/study.jsonl as they come, and passes over what is there
 * already: called again with the same OUT it goes on. It exits 0 with jobs left. Of several GPUs each worker has one.
 */
import { spawn } from 'node:child_process';
import { appendFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { openModelDirectory } from '@spft/models/node';
import { type JobResult, type JobSetting, jobFromFile, plan, planArguments } from './job.js';
import { type Job, jobKey, PARTS, type PartName, paperFile, type SparsitySpec, type TaskName } from './job-types.js';
import { merge } from './merge.js';
import { bestCandidate, candidateSpec, studyJobs } from './methods.js';
import { prepare } from './prepare.js';
import { bestJob, bestOfScreen, type Screened, screenedOf } from './screen.js';

const { positionals, values: flags } = parseArgs({
  allowPositionals: true,
  options: {
    ...{ datasets: { type: 'string' }, out: { type: 'string' }, data: { type: 'string' }, model: { type: 'string' } },
    ...{
      seconds: { type: 'string' },
      jobs: { type: 'string' },
      seeds: { type: 'string' },
      backend: { type: 'string' },
    },
    ...{ math: { type: 'string' }, csr: { type: 'string' }, questions: { type: 'string' }, only: { type: 'string' } },
    ...{ 'math-steps': { type: 'string' }, 'csr-steps': { type: 'string' }, template: { type: 'string' } },
    ...{ what: { type: 'string' }, gpus: { type: 'string' }, rate: { type: 'string' }, sets: { type: 'string' } },
    ...{ alone: { type: 'string' }, order: { type: 'string' } },
    ...{
      tiny: { type: 'boolean' },
      trace: { type: 'boolean' },
      result: { type: 'string' },
      machine: { type: 'string' },
      work: { type: 'string' },
      guess: { type: 'string' },
      'most-seconds': { type: 'string' },
    },
  },
});
const values: Record<string, string | boolean | undefined> = flags;
const text = (name: string, otherwise?: string): string => {
  const value = values[name] ?? otherwise;
  if (typeof value === 'string') return value;
  throw new Error(`study: --${name} is wanted`);
};
const number = (name: string, otherwise: number) => {
  const value = Number(text(name, String(otherwise)));
  if (Number.isFinite(value)) return value;
  throw new Error(`study: --${name} is '${text(name)}', a number is wanted`);
};
/** The part that `--what` names. */
const partOf = (): PartName => {
  const name = text('what', 'rows');
  if ((PARTS as readonly string[]).includes(name)) return name as PartName;
  throw new Error(`study: --what is '${name}', one of ${PARTS.join(', ')} is wanted`);
};

/** A job that was not yet timed is taken to last so long. */
const GUESS_SECONDS = number('guess', 150);
/** A job of a second seed is no longer than the first's, however busy the machine: longer, and it hangs. */
const MOST_SECONDS = number('most-seconds', 400);

async function run(): Promise<void> {
  const began = performance.now();
  // What names nothing is said before anything is opened.
  const seconds = number('seconds', 3600);
  if (flags.order === undefined) partOf();
  const left = () => seconds - (performance.now() - began) / 1000;
  const out = resolve(text('out'));
  const work = resolve(text('work', join(out, '..', 'study-work')));
  const tiny = flags.tiny === true;
  const setting: JobSetting = {
    ...{ model: resolve(text('model')), data: resolve(text('data')), directory: '', backend: text('backend', 'cuda') },
    taskSteps: { math: number('math-steps', 600), csr: number('csr-steps', 375), 'random-answers': 1500 },
    most: tiny ? 2 : null,
    learningRate: { math: number('rate', 1e-3), csr: number('rate', 1e-3), 'random-answers': 5e-4 },
    ...{
      batchSize: tiny ? 4 : 16,
      rank: tiny ? 4 : 32,
      template: text('template', 'alpaca'),
      planSamples: tiny ? 4 : 48,
      questions: tiny ? 4 : null,
      sets: flags.sets === undefined ? null : text('sets').split(','),
      ...(flags.trace && { traces: true }),
    },
  };
  const directory = await openModelDirectory(setting.model);
  const layerCount = directory.config.numHiddenLayers;
  await directory.close();
  await mkdir(work, { recursive: true });
  await mkdir(out, { recursive: true });
  const log = join(out, 'study.jsonl');
  const before = await lines(log);
  const done = new Set(before.map(({ key }) => key));
  /** What candidates came to, by name. */
  const candidates = new Map<string, { right: number; loss: number }>();
  const note = ({ candidate, form, denseHeldOutLoss }: Partial<JobResult> & Pick<Job, 'candidate'>) => {
    if (candidate !== undefined && form && denseHeldOutLoss)
      candidates.set(candidate, { right: form.right / form.questions, loss: denseHeldOutLoss });
  };
  before.forEach(note);
  const screened: Screened[] = before.flatMap(screenedOf);
  const only = text('only', '');
  const seeds = text('seeds', '0,1,2').split(',').map(Number);
  const queue = await queueOf(seeds, (job) => !done.has(jobKey(job)) && jobKey(job).includes(only));
  const total = queue.length;
  const durations = new Map<string, number>();
  const expected = (job: Job) => durations.get(`${job.task} ${job.trains}`) ?? GUESS_SECONDS;
  const failures = new Map<string, string>();
  let finished = 0;

  /** Plans are made once, by whoever needs them first. */
  const plans = new Map<string, Promise<string>>();
  const sparsityOf = async (job: Job, gpu: number): Promise<string | null> => {
    const { sparsity } = job;
    if (sparsity.kind === 'none') return null;
    if (sparsity.kind === 'best') throw new Error('internal: a best that was not chosen');
    const path = join(work, `${jobKey(job)}.yaml`);
    if (sparsity.kind === 'paper') {
      await writeFile(path, paperFile(sparsity, layerCount));
      return path;
    }
    const { start_step = 0, end_step = 1, compensation_rank: rank = 0 } = sparsity.keys ?? {};
    const targets = job.training?.targets?.join(',');
    const key = `${job.task}-${sparsity.estimator}-${sparsity.flops[0]}-${start_step}-${end_step}${targets ? `-${targets}` : ''}${rank ? `-compensated-${rank}` : ''}${sparsity.tails ? `-tails-${sparsity.tails}` : ''}`;
    const made = plans.get(key) ?? makePlan(job.task, sparsity, key, gpu, targets);
    plans.set(key, made);
    const planned = await readFile(await made, 'utf8');
    const keys = Object.entries(sparsity.keys ?? {});
    // Keys of the row replace those of the plan.
    const kept = planned.split('\n').filter((line) => !keys.some(([name]) => line.startsWith(`${name}:`)));
    await writeFile(path, [...keys.map(([name, value]) => `${name}: ${value}`), ...kept].join('\n'));
    return path;
  };
  const known = new Map((await lines(join(out, 'plans.jsonl'))).map(({ key, text }) => [key, text]));
  const makePlan = async (
    task: TaskName,
    spec: SparsitySpec & { kind: 'plan' },
    key: string,
    gpu: number,
    targets?: string,
  ): Promise<string> => {
    const before = known.get(key);
    if (before !== undefined) {
      const file = join(work, `plan-${key}.yaml`);
      await writeFile(file, before);
      return file;
    }
    for (const flops of spec.flops) {
      const file = join(work, `plan-${key}-${flops}.yaml`);
      const more = { ...(targets && { targets }), ...(spec.tails && { tails: spec.tails }) };
      const argv = planArguments(setting, task, spec.estimator, flops, file, spec.keys ?? {}, more);
      const { code, tail } = await child(['plan', JSON.stringify(argv)], Math.max(60, left()), gpu);
      if (code === 0) {
        // One file, as machines may give back few.
        await appendFile(join(out, 'plans.jsonl'), `${JSON.stringify({ key, text: await readFile(file, 'utf8') })}\n`);
        return file;
      }
      if (!tail.includes('cannot be met')) throw new Error(`plan ${key}: ${tail}`);
    }
    throw new Error(`plan ${key}: none of the budgets ${spec.flops.join(', ')} can be met`);
  };

  const running = new Set<Job>();
  /** Whether the candidates are through among which the best is to be taken. */
  const isReady = ({ sparsity, task, best }: Job) =>
    sparsity.kind !== 'best' ||
    ![...queue, ...running].some((other) =>
      best === undefined ? other.candidate !== undefined : other.asks === false && other.task === task,
    );
  const withBest = (job: Job): Job => {
    if (job.sparsity.kind !== 'best') return job;
    if (job.best !== undefined) return bestOfScreen(job, screened);
    const name = bestCandidate([...candidates].map(([name, result]) => ({ name, ...result })));
    say(`${jobKey(job)}: ${name}`);
    return { ...job, ...candidateSpec(name, job.task as 'math' | 'csr'), chosen: name };
  };

  const worker = async (gpu: number): Promise<void> => {
    for (;;) {
      const index = queue.findIndex((job) => expected(job) * 1.1 < left() && isReady(job));
      if (index < 0 && queue.some((job) => expected(job) * 1.1 < left())) {
        await delayed(300);
        continue;
      }
      if (index < 0) return;
      const [taken] = queue.splice(index, 1);
      running.add(taken!);
      const job = withBest(taken!);
      const key = jobKey(job);
      if (done.has(key)) {
        running.delete(taken!);
        continue;
      }
      done.add(key);
      const started = performance.now();
      try {
        const sparsityFile = await sparsityOf(job, gpu);
        const directory = join(work, key);
        const [request, result] = [join(work, `${key}.job.json`), join(work, `${key}.result.json`)];
        await rm(result, { force: true });
        await writeFile(request, JSON.stringify({ job, setting: { ...setting, directory }, sparsityFile, result }));
        const { code, tail } = await child(['job', request], Math.min(MOST_SECONDS, Math.max(10, left())), gpu);
        if (code !== 0) throw new Error(tail);
        const numbers = JSON.parse(await readFile(result, 'utf8')) as JobResult;
        const { sparsity: _, ...described } = job;
        note({ ...numbers, candidate: job.candidate });
        screened.push(...screenedOf({ ...job, ...numbers }));
        await appendFile(log, `${JSON.stringify({ key, ...described, ...numbers })}\n`);
        await rm(directory, { recursive: true, force: true });
        durations.set(`${job.task} ${job.trains}`, (performance.now() - started) / 1000);
        const shown = Object.entries(numbers.accuracies).map(([set, share]) => `${set} ${(100 * share).toFixed(1)}`);
        const { form, denseHeldOutLoss } = numbers;
        if (numbers.trace) say(JSON.stringify({ ...numbers.trace, lines: undefined }, null, 1));
        if (form) shown.push(`equation ${form.equation}, right ${form.right} of ${form.questions}`);
        say(
          `${++finished}/${total} ${key}: ${shown.join(', ')}; held out ${denseHeldOutLoss?.toFixed(4)}; FLOPs ${(100 * numbers.flopsShare).toFixed(0)} %, ${numbers.secondsPerStep?.toFixed(3)} s/step, ${numbers.seconds.toFixed(0)} s`,
        );
      } catch (error) {
        failures.set(key, (error as Error).message);
        say(`${key} FAILED: ${(error as Error).message.slice(-600)}`);
      } finally {
        running.delete(taken!);
      }
    }
  };
  const gpus = number('gpus', 1);
  // A first job by itself for a while compiles kernels that all others take from the cache.
  const alone = setting.backend === 'cuda' ? number('alone', 15) : 0;
  await Promise.all(
    Array.from({ length: number('jobs', 12) }, (_, n) =>
      delayed(n < gpus ? 0 : alone * 1000 + n * 400).then(() => worker(n % gpus)),
    ),
  );
  say(
    `${finished} of ${total} jobs done, ${queue.length} left, ${failures.size} failed; ${((performance.now() - began) / 1000).toFixed(0)} s`,
  );
  if (failures.size > 0)
    await writeFile(join(out, 'failures.json'), JSON.stringify(Object.fromEntries(failures), null, 1));
}

/** The jobs of `--what`, or those whose keys are lines of the file `--order`, in that order. */
async function queueOf(seeds: readonly number[], isWanted: (job: Job) => boolean): Promise<Job[]> {
  if (flags.order === undefined) return studyJobs(seeds, partOf()).filter(isWanted);
  const all = new Map(PARTS.flatMap((part) => studyJobs(seeds, part)).map((job) => [jobKey(job), job]));
  const wanted = (await readFile(text('order'), 'utf8'))
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  return wanted
    .map((key) => {
      const [, task, best, seed] = /^@best (math|csr) (\d+) (\d+)$/.exec(key) ?? [];
      if (task !== undefined) return bestJob(task as 'math' | 'csr', Number(best), Number(seed));
      const job = all.get(key);
      if (!job) throw new Error(`study: no job '${key}', as ${text('order')} has it`);
      return job;
    })
    .filter(isWanted);
}

const delayed = (milliseconds: number) => new Promise((resume) => setTimeout(resume, milliseconds));
const say = (line: string) => process.stdout.write(`${line}\n`);

type LogLine = { readonly key: string; readonly text?: string } & Partial<JobResult> & Partial<Job>;

async function lines(path: string): Promise<LogLine[]> {
  const content = await readFile(path, 'utf8').catch(() => '');
  return content
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as LogLine);
}

/** This program again with other arguments, one thread each; its last output where it fails. */
function child(argv: readonly string[], seconds: number, gpu: number): Promise<{ code: number; tail: string }> {
  const own = number('gpus', 1) > 1 ? { CUDA_VISIBLE_DEVICES: String(gpu) } : {};
  const environment = { ...process.env, ...own, NO_COLOR: '1', OMP_NUM_THREADS: '1', UV_THREADPOOL_SIZE: '2' };
  // With the driver's own options of node, so that `node --cpu-prof …` profiles its jobs.
  const given = [...process.execArgv, fileURLToPath(import.meta.url), ...argv];
  const process_ = spawn(process.execPath, given, { env: environment });
  let tail = '';
  const take = (data: Buffer) => {
    tail = (tail + data.toString()).slice(-3000);
  };
  process_.stdout.on('data', take);
  process_.stderr.on('data', take);
  const timer = setTimeout(() => process_.kill('SIGKILL'), seconds * 1000);
  return new Promise((settle) => {
    process_.on('close', (code) => {
      clearTimeout(timer);
      settle({ code: code ?? 1, tail });
    });
  });
}

const [command, argument = ''] = positionals;
if (command === 'job') {
  await jobFromFile(argument).catch((error: Error) => {
    process.stderr.write(`${error.stack?.slice(-600)}\n${error.message.slice(-500)}\n`);
    process.exitCode = 1;
  });
} else if (command === 'plan') await plan(JSON.parse(argument) as string[]);
else if (command === 'prepare') {
  const sizes = { math: number('math', 3600), csr: number('csr', 6000), questions: number('questions', 240) };
  await prepare(text('datasets'), text('out'), sizes);
} else if (command === 'run') await run();
else if (command === 'merge') {
  await merge(text('out'), text('result', 'bench/results/accuracy-smollm2.json'), text('machine', ''), partOf());
} else throw new Error('study: prepare, run or merge');
