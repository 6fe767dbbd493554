/** @file What this browser has of what makes training fast, and what is missing. */
import type { Capability } from '../protocol.js';
import { storageMissing } from '../storage/opfs.js';

/** The smallest module with an instruction of 128-bit SIMD (`i8x16.splat`, `i8x16.popcnt`). */
const SIMD = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11],
);

interface Gpu {
  requestAdapter(): Promise<{ readonly info?: { readonly vendor?: string; readonly architecture?: string } } | null>;
}

export async function webgpu(): Promise<Capability> {
  const { gpu } = navigator as { readonly gpu?: Gpu };
  const say = (available: boolean, detail: string): Capability => ({ name: 'WebGPU', available, detail });
  if (!gpu) return say(false, 'this browser has no WebGPU: Chrome, Edge, Safari 26 or Firefox 141 and newer have it');
  const adapter = await gpu.requestAdapter().catch(() => null);
  if (!adapter)
    return say(
      false,
      'the browser has WebGPU, but no GPU that it may use (in Chrome, chrome://gpu says what is blocked)',
    );
  const { vendor = '', architecture = '' } = adapter.info ?? {};
  return say(
    true,
    `${[vendor, architecture].filter((word) => word !== '').join(' ') || 'an adapter is there'}; choose it under “More settings”`,
  );
}

function threads(): Capability {
  const available = globalThis.crossOriginIsolated === true;
  const cores = navigator.hardwareConcurrency;
  return {
    name: 'Threads',
    available,
    detail: available
      ? `${cores} cores, and memory that threads can share`
      : 'the server does not send Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp, without which memory cannot be shared',
  };
}

function simd(): Capability {
  const available = WebAssembly.validate(SIMD);
  return {
    name: 'SIMD',
    available,
    detail: available ? '128 bits at a time' : 'this browser’s WebAssembly computes one number at a time',
  };
}

async function storage(): Promise<Capability> {
  const missing = storageMissing();
  if (missing) return { name: 'Storage', available: false, detail: `${missing}, so that nothing outlives a reload` };
  const { quota = 0, usage = 0 } = await navigator.storage.estimate();
  return { name: 'Storage', available: true, detail: `${gigabytes(quota - usage)} of room for models and checkpoints` };
}

const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;

export async function capabilities(): Promise<Capability[]> {
  return [await webgpu(), threads(), simd(), await storage()];
}
