/** @file All shaders as Dawn reads them, on its null adapter, which computes nothing. */
import { expect, it } from 'vitest';
import { describeWebGPU } from '../../test/webgpu.js';
import { SHADERS, type ShaderName } from '../shaders.generated.js';
import { type Constants, shaderText } from './pipelines.js';

/** Constants with which a shader's text differs most from that without. */
const VARIANTS: readonly Constants[] = [
  {},
  { A_ALONG_K: false, B_ALONG_K: false },
  { GATHER: 3, SCATTER: true },
  { RECORDED: true },
  { SUM: true },
];

const has = (name: ShaderName, constants: object) =>
  Object.keys(constants).every((constant) => SHADERS[name].includes(`override ${constant}:`));

describeWebGPU('shaders', () => {
  it('are WGSL', async () => {
    // Not by navigator.gpu, which has the adapter that computes.
    const { create } = (await import('webgpu')) as unknown as { create(flags: string[]): GPU };
    const gpu = create(['backend=null']);
    const adapter = (await gpu.requestAdapter())!;
    const device = await adapter.requestDevice();
    const wrong: string[] = [];
    const read = async (name: string, code: string) => {
      device.pushErrorScope('validation');
      device.createShaderModule({ code });
      const error = await device.popErrorScope();
      if (error) wrong.push(`${name}: ${error.message}`);
    };
    for (const name of Object.keys(SHADERS) as ShaderName[]) {
      for (const constants of VARIANTS) if (has(name, constants)) await read(name, shaderText(name, constants));
    }
    expect(wrong).toEqual([]);
    await read('none', 'fn main() { none(); }');
    expect(wrong).toHaveLength(1);
    device.destroy();
  });
});
