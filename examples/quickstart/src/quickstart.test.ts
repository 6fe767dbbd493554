import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseOptions } from './options.js';

const run = promisify(execFile);
const main = 'examples/quickstart/dist/main.js';

/** The built program, as `npm run quickstart` starts it, cut short. */
describe('quickstart', () => {
  let out: string;
  let stdout: string;

  beforeAll(async () => {
    out = await mkdtemp(join(tmpdir(), 'spft-quickstart-'));
    const flags = ['--steps', '25', '--questions', '20', '--out', out, '--json', join(out, 'numbers.json')];
    ({ stdout } = await run(process.execPath, [main, ...flags], { env: { ...process.env, SPFT_BACKEND: 'wasm' } }));
  }, 300_000);

  afterAll(() => rm(out, { recursive: true, force: true }));

  it('teaches the base what it cannot do, by both methods', async () => {
    const numbers = JSON.parse(await readFile(join(out, 'numbers.json'), 'utf8'));
    expect(numbers).toMatchObject({ backend: 'wasm', wallSeconds: expect.any(Number) });
    expect(numbers.methods.map((m: { name: string }) => m.name)).toEqual(['lora', 'sparselora']);
    for (const method of numbers.methods) {
      expect(method.accuracyBefore).toBeLessThanOrEqual(0.15);
      expect(method.accuracyAfter).toBeGreaterThan(0.5);
      expect(method.secondsPerStep).toBeGreaterThan(0);
    }
    expect(numbers.methods[0].flopsShare).toBe(1);
    expect(numbers.methods[1].flopsShare).toBeLessThan(0.75);
  });

  it('prints a table and leaves adapters and a report', async () => {
    expect(stdout).toMatch(/│ lora +│/);
    expect(stdout).toMatch(/│ sparselora +│/);
    for (const name of ['lora', 'sparselora']) {
      const config = JSON.parse(await readFile(join(out, name, 'adapter_config.json'), 'utf8'));
      expect(config).toMatchObject({ peft_type: 'LORA', r: 8 });
      expect((await readFile(join(out, name, 'adapter_model.safetensors'))).length).toBeGreaterThan(10_000);
    }
    const report = await readFile(join(out, 'report.html'), 'utf8');
    expect(report).toContain('SparseLoRA');
    expect(report).not.toMatch(/<script|https?:\/\/(?!www\.w3\.org)/);
  });

  it('does so on frozen weights in 4 bits too', async () => {
    const dir = join(out, 'q');
    const flags = [
      '--peft',
      'qlora',
      '--steps',
      '25',
      '--questions',
      '20',
      '--out',
      dir,
      '--json',
      join(dir, 'n.json'),
    ];
    await run(process.execPath, [main, ...flags], { env: { ...process.env, SPFT_BACKEND: 'wasm' } });
    const { methods } = JSON.parse(await readFile(join(dir, 'n.json'), 'utf8'));
    expect(methods.map((m: { name: string }) => m.name)).toEqual(['qlora', 'sparseqlora']);
    for (const method of methods) expect(method.accuracyAfter).toBeGreaterThan(0.5);
    const base = JSON.parse(await readFile(join(dir, 'sparseqlora', 'spft_base.json'), 'utf8'));
    expect(base.codes).toMatchObject({ type: 'nf4', doubleQuantisation: true, modulesToNotConvert: [] });
  }, 300_000);

  it('says which flag is wrong', async () => {
    expect(() => parseOptions(['--steps', 'many'])).toThrow(
      "--steps: wanted a whole number of at least 1, found 'many'",
    );
    expect(() => parseOptions(['--peft', 'qdora'])).toThrow("--peft: wanted lora or qlora, found 'qdora'");
    await expect(run(process.execPath, [main, '--stops', '3'])).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining("Unknown option '--stops'"),
    });
  });
});
