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

const BINDING = /@binding\((\d+)\) var<(uniform|storage, read_write|storage, read)>/g;

/** Of a shader's bindings in their order; the parameters' place in the arena is told with each dispatch. */
function layoutEntries(text: string): GPUBindGroupLayoutEntry[] {
  return [...text.matchAll(BINDING)].map(([, binding, kind]) => ({
    binding: Number(binding),
    // GPUShaderStage.COMPUTE, which is no global before there is a device.
    visibility: 4,
    buffer:
      kind === 'uniform'
        ? { type: 'uniform', hasDynamicOffset: true }
        : { type: kind === 'storage, read' ? 'read-only-storage' : 'storage' },
  }));
}

export interface Pipeline {
  readonly id: number;
  readonly name: string;
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
  /** Bindings that it writes to. */
  readonly written: readonly number[];
}

export class Pipelines {
  readonly #pipelines = new Map<string, Pipeline>();

  constructor(private readonly device: GPUDevice) {}

  get(shader: ShaderName, constants: Constants): Pipeline {
    let name: string = shader;
    for (const constant in constants) name += ` ${constant}=${constants[constant]}`;
    let made = this.#pipelines.get(name);
    if (!made) {
      made = this.#create(name, shaderText(shader, constants));
      this.#pipelines.set(name, made);
    }
    return made;
  }

  #create(name: string, code: string): Pipeline {
    const module = this.device.createShaderModule({ label: name, code });
    const entries = layoutEntries(code);
    const layout = this.device.createBindGroupLayout({ label: name, entries });
    const written = entries.filter(({ buffer }) => buffer?.type === 'storage').map(({ binding }) => binding);
    const pipeline = this.device.createComputePipeline({
      label: name,
      layout: this.device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: 'main' },
    });
    return { id: this.#pipelines.size, name, pipeline, layout, written };
  }
}
