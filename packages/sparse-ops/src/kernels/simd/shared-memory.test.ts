import { describe, expect, it } from 'vitest';
import { withSharedMemory } from './shared-memory.js';

const HEAD = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
/** A function type without parameters and results, which imports of functions name. */
const TYPES = [1, 4, 1, 0x60, 0, 0];
const section = (id: number, body: readonly number[]) => [id, body.length, ...body];
const name = (text: string) => [text.length, ...new TextEncoder().encode(text)];
const imported = (kind: readonly number[]) => [...name('env'), ...name('m'), ...kind];
const module = (...sections: readonly (readonly number[])[]) =>
  Uint8Array.from([...HEAD, ...TYPES, ...sections.flat()]);
/** Limits of one to two pages. */
const LIMITS = [1, 1, 2];

describe('withSharedMemory()', () => {
  it('makes a memory of the module a shared one', () => {
    const bytes = module(section(5, [1, ...LIMITS]), section(7, [1, ...name('m'), 2, 0]));
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(withSharedMemory(bytes)));
    expect((exports.m as WebAssembly.Memory).buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(bytes).toEqual(module(section(5, [1, ...LIMITS]), section(7, [1, ...name('m'), 2, 0])));
  });

  it('makes a module that imports a memory take a shared one, whatever else it imports', () => {
    const others = [
      [0, 0],
      [3, 0x7f, 0],
      [1, 0x70, 1, 1, 200, 1],
      [1, 0x70, 0, 1],
    ].map(imported);
    const bytes = module(section(2, [5, ...others.flat(), ...imported([2, ...LIMITS])]));
    const shared = new WebAssembly.Module(withSharedMemory(bytes));
    const env = (memory: WebAssembly.Memory) => new Proxy({}, { get: () => memory });
    expect(WebAssembly.Module.imports(shared).map(({ kind }) => kind)).toContain('memory');
    // The memory is the last import; that it is refused for what it is, and not for being shared, shows in the message.
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 2, shared: true });
    const alone = module(section(2, [1, ...imported([2, ...LIMITS])]));
    expect(() => new WebAssembly.Instance(new WebAssembly.Module(alone), { env: env(memory) })).toThrow(/shared/);
    new WebAssembly.Instance(new WebAssembly.Module(withSharedMemory(alone)), { env: env(memory) });
  });

  it('leaves a shared memory as it is', () => {
    const once = withSharedMemory(module(section(5, [1, ...LIMITS])));
    expect(withSharedMemory(once)).toEqual(once);
  });

  it('says what a module lacks', () => {
    expect(() => withSharedMemory(module())).toThrow('the module has no memory and imports none');
    expect(() => withSharedMemory(module(section(5, [1, 0, 1])))).toThrow('has no maximum');
    expect(() => withSharedMemory(Uint8Array.from([...HEAD, 5, 3, 1]))).toThrow('ends within a section');
  });
});
