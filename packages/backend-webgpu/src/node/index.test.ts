/** @file WebGPU in Node as a user has it: `SPFT_BACKEND=webgpu`, in a process of its own. Needs the build that `npm test` makes before. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { describeWebGPU } from '../../test/webgpu.js';

const PROGRAM = `
import * as tf from '@tensorflow/tfjs';
import { activateBackend } from '@spft/backends';
import { swiglu } from '@spft/sparse-ops';
const { name, why } = await activateBackend();
const y = swiglu(tf.tensor2d([[0, 1]]), tf.tensor2d([[2, 3]]));
console.log(JSON.stringify({ name, why, ours: tf.getKernel('SpftSwiglu', name) !== undefined, y: [...(await y.data())] }));
`;

describeWebGPU('SPFT_BACKEND=webgpu', () => {
  it('starts Dawn, computes by our kernels, and lets the process end', () => {
    const out = execFileSync(process.execPath, ['--input-type=module', '--eval', PROGRAM], {
      env: { ...process.env, SPFT_BACKEND: 'webgpu' },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 60_000,
    });
    const { name, why, ours, y } = JSON.parse(out.trim().split('\n').at(-1)!) as Record<string, unknown>;
    expect([name, ours]).toEqual(['webgpu', true]);
    expect(why).toMatch(/^webgpu \(asked for by name\): /);
    expect((y as number[])[0]).toBe(0);
    expect((y as number[])[1]).toBeCloseTo(3 / (1 + Math.exp(-1)), 6);
  });
});

it('provideWebGPU() says what to install where the package is missing', () => {
  const folder = mkdtempSync(join(tmpdir(), 'spft-no-dawn-'));
  try {
    const entry = new URL('./index.ts', import.meta.url).pathname;
    const program = `
      import { build } from 'esbuild';
      const { outputFiles } = await build({ entryPoints: ['${entry}'], bundle: true, platform: 'node', format: 'esm', write: false });
      process.chdir('${folder}');
      const url = 'data:text/javascript,' + encodeURIComponent(outputFiles[0].text.replaceAll('import.meta.url', '"file://${folder}/x.mjs"'));
      const { provideWebGPU, probeWebGPU } = await import(url);
      console.log(JSON.stringify([probeWebGPU(), await provideWebGPU().catch(({ name, problem, message }) => ({ name, problem, message }))]));
    `;
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
      encoding: 'utf8',
    });
    expect(JSON.parse(stdout || stderr)).toEqual([
      { available: false, reason: expect.stringContaining("package 'webgpu'"), hint: 'npm install webgpu' },
      { name: 'WebGPUError', problem: 'no-webgpu', message: expect.stringContaining('npm install webgpu') },
    ]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
