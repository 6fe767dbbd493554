/// <reference types="@webgpu/types" />
/**
 * @file Bind groups, kept: steps of training bind the same buffers to the same shaders, and to make a bind group takes longer than all else of a
 * dispatch.
 */
import type { Pipeline } from './pipelines.js';

/** Kept at most; a step of a model of 30 layers has some 2,500. */
const MOST = 2 ** 14;

/** Bytes of the parameters that a shader may read from their place on. */
export const PARAMS_BYTES = 256;

export class BindGroups {
  readonly #groups = new Map<string, GPUBindGroup>();
  readonly #ids = new WeakMap<GPUBuffer, number>();
  #next = 0;
  /** Bind groups made so far. */
  made = 0;

  constructor(
    private readonly device: GPUDevice,
    private readonly params: GPUBuffer,
    private readonly most = MOST,
  ) {}

  /** @param buffers whole, from binding 1 on. */
  get({ id, layout }: Pipeline, buffers: readonly GPUBuffer[]): GPUBindGroup {
    let key = `${id}`;
    for (const buffer of buffers) key += `,${this.#idOf(buffer)}`;
    const known = this.#groups.get(key);
    if (known) return known;
    // Those of buffers that are no more go with the others.
    if (this.#groups.size >= this.most) this.#groups.clear();
    const entries: GPUBindGroupEntry[] = [{ binding: 0, resource: { buffer: this.params, size: PARAMS_BYTES } }];
    buffers.forEach((buffer, n) => {
      entries.push({ binding: n + 1, resource: { buffer } });
    });
    const group = this.device.createBindGroup({ layout, entries });
    this.made++;
    this.#groups.set(key, group);
    return group;
  }

  #idOf(buffer: GPUBuffer): number {
    let id = this.#ids.get(buffer);
    if (id === undefined) {
      id = this.#next++;
      this.#ids.set(buffer, id);
    }
    return id;
  }
}
