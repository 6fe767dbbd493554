import { build } from 'esbuild';
import { describe, expect, it } from 'vitest';

/** The packages that must load in a browser; their Node parts sit behind `/node`. */
const CORE = ['config', 'safetensors', 'gguf', 'sparse-ops', 'estimator', 'peft', 'models', 'trainer'];

const bundle = (contents: string) =>
  build({
    stdin: { contents, resolveDir: process.cwd(), loader: 'ts' },
    bundle: true,
    write: false,
    platform: 'browser',
    format: 'esm',
    logLevel: 'silent',
    // tfjs brings its own browser entry; what counts here is our code
    external: ['@tensorflow/tfjs'],
  });

describe('bundling for a browser', () => {
  it.each(CORE)('@spft/%s has no Node built-in', async (name) => {
    const { outputFiles } = await bundle(`export * from '@spft/${name}'`);
    expect(outputFiles[0]!.text.length).toBeGreaterThan(1000);
    expect(outputFiles[0]!.text).not.toMatch(/from\s*["']node:/);
  });

  it('@spft/config makes no code at run time, and brings no compiler of schemas', async () => {
    const { outputFiles } = await bundle("export * from '@spft/config'");
    expect(outputFiles[0]!.text).not.toMatch(/new Function\(|\beval\(/);
    expect(outputFiles[0]!.text).not.toContain('node_modules/ajv');
  });

  it('fails for a package that has one', async () => {
    await expect(bundle("export * from '@spft/safetensors/node'")).rejects.toThrow(/node:|Could not resolve/);
  });
});
