import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
// @ts-expect-error: a script
import { compile } from '../../assembly/compile.mjs';
import { KERNEL_NAMES, kernelsOn } from './kernels.js';

describe('the kernels', () => {
  it('are what assembly/ compiles to; if not, run npm run assembly -w @spft/backend-blas', async () => {
    expect(readFileSync(`${import.meta.dirname}/assembly.generated.ts`, 'utf8')).toBe(await compile());
  }, 60_000);

  it('are all there', () => {
    const kernels = kernelsOn(new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true }));
    for (const name of KERNEL_NAMES) expect(kernels[name], name).toBeTypeOf('function');
  });

  it('write to nothing that they were not given: the module has no data', () => {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
    kernelsOn(memory);
    expect(new Uint8Array(memory.buffer).every((byte) => byte === 0)).toBe(true);
  });
});
