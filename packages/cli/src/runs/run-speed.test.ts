import { readFile } from 'node:fs/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { BASE, fails, scratch, works } from '../../test/run-cli.js';
import type { SpeedRunRequest } from '../steps/speed-run.js';
import { isOutOfMemory, type SpeedResult } from './run-speed.js';

const stub = vi.hoisted(() => ({ before: (_: unknown): void => undefined, requests: [] as unknown[] }));
vi.mock('../steps/speed-run.js', async (original) => {
  const real = await original<typeof import('../steps/speed-run.js')>();
  const speedRun: typeof real.speedRun = (request, output) => {
    stub.requests.push(request);
    stub.before(request);
    return real.speedRun(request, output);
  };
  return { ...real, speedRun };
});

const at = scratch();
const few = ['--warmup', '1', '--steps', '2', '--runs', '2', '--per_device_train_batch_size', '2'];
const env = () => ({ env: { SPFT_PREDICTORS: at.path('predictors') } });
const json = async (name: string) => JSON.parse(await readFile(at.path(name), 'utf8'));
const median = (values: number[]) => {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2;
};

afterEach(() => {
  stub.before = () => undefined;
  stub.requests = [];
});

describe('spft speed', () => {
  it('measures the methods in turns on the same real batches, and tells times, ratio, FLOPs and memory', async () => {
    const files = ['--json', at.path('speed.json'), '--picture', at.path('speed.svg')];
    const sparse = ['--sparsity', at.sparsity, '--spft_start_step', '0'];
    const methods = ['--methods', 'lora,sparselora'];
    const argv = ['speed', '--model', BASE, '--dataset', at.train, ...sparse, ...methods, ...few, ...files];
    const { stdout } = await works(argv, env());
    expect(stdout).toMatch(/sparselora/);
    const order = (stub.requests as SpeedRunRequest[]).map(({ method, config }) => [method.name, config.seed]);
    expect(order).toEqual([
      ['lora', 42],
      ['sparselora', 42],
      ['lora', 43],
      ['sparselora', 43],
    ]);
    const { methods: results, ...settings } = await json('speed.json');
    expect(settings).toMatchObject({ model: BASE, rows: 'real', batchSize: 2, warmup: 1, steps: 2, runs: 2 });
    const [lora, sparselora] = results as SpeedResult[];
    for (const { seconds, statistics, losses, peakMemoryBytes, tokensPerSecond } of [lora!, sparselora!]) {
      expect(seconds.map((run) => run.length)).toEqual([2, 2]);
      expect(statistics!.median).toBeCloseTo(median(seconds.flat()), 12);
      expect(losses!.every((loss) => loss > 0)).toBe(true);
      // The frozen model alone takes 12 MB.
      expect(peakMemoryBytes).toBeGreaterThan(12e6);
      expect(tokensPerSecond).toBeGreaterThan(0);
    }
    // The same first batch, dense and sparse.
    expect(lora!.losses![0]).not.toBe(sparselora!.losses![0]);
    expect(lora!.ratio).toMatchObject({ ratio: 1, low: 1, high: 1 });
    const { ratio, low, high } = sparselora!.ratio!;
    expect(ratio).toBeCloseTo(median(lora!.seconds.flat()) / median(sparselora!.seconds.flat()), 12);
    expect(low).toBeLessThanOrEqual(ratio);
    expect(high).toBeGreaterThanOrEqual(ratio);
    expect(lora!.flopsShare).toBe(1);
    expect(sparselora!.flopsShare).toBeLessThan(1);
    expect(sparselora!.flopsPerStep! / lora!.flopsPerStep!).toBeCloseTo(sparselora!.flopsShare!, 9);
    const svg = await readFile(at.path('speed.svg'), 'utf8');
    expect(svg.match(/<rect /g)).toHaveLength(2);
  });

  it('measures random weights of a shape on rows of the original’s lengths, and goes on where a method has no memory', async () => {
    stub.before = (request) => {
      if ((request as SpeedRunRequest).method.name === 'dora') throw new RangeError('Array buffer allocation failed');
    };
    const argv = ['speed', '--shape', 'quickstart', '--dataset', 'csr170k', '--methods', 'lora,dora'];
    const short = ['--warmup', '0', '--steps', '1', '--runs', '2', '--per_device_train_batch_size', '1'];
    const { stdout, stderr } = await works([...argv, ...short, '--json', at.path('shape.json')], env());
    expect(stderr).toContain('dora: out of memory: Array buffer allocation failed; the other methods go on');
    expect(stdout).toMatch(/dora +│ out of memory/);
    const { methods, ...settings } = await json('shape.json');
    expect(settings).toMatchObject({ model: null, shape: 'quickstart', rows: 'simulated' });
    expect(methods[0].seconds).toHaveLength(2);
    expect(methods[1]).toMatchObject({ failure: expect.stringContaining('out of memory'), statistics: null });
    // Once: a method that failed is not tried again.
    expect((stub.requests as SpeedRunRequest[]).filter(({ method }) => method.name === 'dora')).toHaveLength(1);
  });

  it('measures QLoRA on weights in 4 bits beside LoRA, one frozen model at a time', { timeout: 180_000 }, async () => {
    // Of ops that are composed of others for plain weights, too: of a model so small, what a backend's own kernels need not hold weighs more than the weights.
    const argv = ['speed', '--backend', 'cpu', '--model', BASE, '--dataset', at.train, '--sparsity', at.sparsity];
    const methods = ['--methods', 'lora,qlora,sparseqlora', '--json', at.path('q.json')];
    const short = ['--warmup', '0', '--steps', '1', '--runs', '2', '--per_device_train_batch_size', '1'];
    await works([...argv, ...methods, ...short], env());
    const { methods: results } = await json('q.json');
    expect((results as SpeedResult[]).map(({ frozenWeights }) => frozenWeights)).toEqual([null, 'nf4', 'nf4']);
    const [lora, qlora] = results as SpeedResult[];
    // A linear layer's number takes half a byte and its share of a scale in place of four bytes.
    expect(qlora!.peakMemoryBytes).toBeLessThan(lora!.peakMemoryBytes!);
    expect(qlora!.flopsPerStep).toBe(lora!.flopsPerStep);
    expect(results[2].flopsShare).toBeLessThan(1);
    // Nothing of LoRA's frozen model is in it.
    await works([...argv, '--methods', 'qlora', '--json', at.path('q.json'), ...short, '--runs', '1'], env());
    const [alone] = (await json('q.json')).methods as SpeedResult[];
    expect(Math.abs(alone!.peakMemoryBytes! - qlora!.peakMemoryBytes!)).toBeLessThan(1e6);
  });

  it('fails where nothing could be measured, and passes on what is no lack of memory', async () => {
    const argv = ['speed', '--shape', 'quickstart', '--dataset', 'csr170k', '--methods', 'lora', ...few];
    stub.before = () => {
      throw Object.assign(new Error('no room for 3 GiB on the GPU'), { code: 'SPFT_CUDA_MEMORY' });
    };
    expect(await fails(argv)).toContain('no method could be measured');
    stub.before = () => {
      throw Object.assign(new Error('something else'), { code: 'SPFT_TEST' });
    };
    expect(await fails(argv)).toContain('error: something else');
    expect(isOutOfMemory(new Error('Aborted(OOM)'))).toBe(true);
    expect(isOutOfMemory(Object.assign(new Error('the GPU has too little'), { problem: 'out-of-memory' }))).toBe(true);
    expect(isOutOfMemory(new Error('no such file'))).toBe(false);
  });

  it('refuses what it cannot measure', async () => {
    const speed = (...more: string[]) => fails(['speed', ...more]);
    expect(await speed('--dataset', 'csr170k')).toContain('speed needs --model DIR_OR_HUB_ID or --shape NAME');
    expect(await speed('--model', BASE, '--shape', 'llama3-8b', '--dataset', 'x')).toContain('and not both');
    expect(await speed('--shape', 'lama3-8b', '--dataset', 'x')).toContain("did you mean 'llama3-8b'?");
    expect(await speed('--model', BASE)).toContain('speed needs --dataset');
    const base = ['--model', BASE, '--dataset', at.train];
    expect(await speed(...base, '--methods', 'sparselora')).toContain('--methods sparselora needs --sparsity FILE');
    expect(await speed(...base, '--methods', 'loda')).toContain("did you mean 'lora'?");
    expect(await speed(...base, '--methods', 'qlorra')).toContain("did you mean 'qlora'?");
    expect(await speed(...base, '--methods', 'lora,lora')).toContain('lora is there twice');
    expect(await speed(...base, '--sparsity', 'auto')).toContain('spft sparsity plan --out FILE');
    expect(await speed('--shape', 'quickstart', '--dataset', at.train)).toContain('give --tokenizer DIR_OR_HUB_ID');
  });
});
