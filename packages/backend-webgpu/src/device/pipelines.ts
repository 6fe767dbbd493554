/// <reference types="@webgpu/types" />
/**
 * @file Compiled shaders of a device, by name and by the values of their constants.
 *
 * A shader says `override NAME: type = default;` of what varies. The values are written into its text as constants: WebGPU's own overrides may
 * not size an array of a function, and compilers unroll less by them.
 */
import { SHADERS, type ShaderName } from '../shaders.generated.js';

export type Constants = Readonly<Record<string, number | boolean>>;

const OVERRIDE = /^override (\w+): (\w+) = (.*);$/gm;

/** The shader's text with the constants in it. @throws Error for a constant that it does not have: a mistake of ours. */
export function shaderText(name: ShaderName, constants: Constants): string {
  const left = new Set(Object.keys(constants));
  const text = SHADERS[name].replace(OVERRIDE, (_, constant: string, type: string, standard: string) => {
    left.delete(constant);
    return `const ${constant}: ${type} = ${constants[constant] ?? standard};`;
  });
  if (left.size > 0) throw new Error(`internal: ${name}.wgsl has no ${[...left].join(', ')}`);
  return text;
}

export class Pipelines {
  readonly #pipelines = new Map<string, GPUComputePipeline>();

  constructor(private readonly device: GPUDevice) {}

  get(name: ShaderName, constants: Constants): GPUComputePipeline {
    let key: string = name;
    for (const constant in constants) key += ` ${constant}=${constants[constant]}`;
    let pipeline = this.#pipelines.get(key);
    if (!pipeline) {
      const module = this.device.createShaderModule({ label: key, code: shaderText(name, constants) });
      const compute = { module, entryPoint: 'main' };
      pipeline = this.device.createComputePipeline({ label: key, layout: 'auto', compute });
      this.#pipelines.set(key, pipeline);
    }
    return pipeline;
  }
}
