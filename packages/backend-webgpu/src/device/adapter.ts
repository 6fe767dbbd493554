/// <reference types="@webgpu/types" />
/** @file A device of the adapter that the system has, with all that the adapter allows and these kernels can use; or why there is none. */
import { WebGPUError } from '../errors.js';

/** What kernels need at least; every implementation of WebGPU promises it. */
const NEEDED = {
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupStorageSize: 16384,
  maxStorageBuffersPerShaderStage: 8,
} as const;

/** Limits that are asked for as high as the adapter has them: the defaults allow matrices of 128 MiB. */
const RAISED = [
  ...['maxBufferSize', 'maxStorageBufferBindingSize', 'maxComputeWorkgroupsPerDimension'],
  ...['maxComputeWorkgroupStorageSize', 'maxComputeInvocationsPerWorkgroup', 'maxComputeWorkgroupSizeX'],
  ...['maxStorageBuffersPerShaderStage'],
] as const;

/** Features that are asked for where the adapter has them. */
const WANTED = ['timestamp-query', 'shader-f16', 'subgroups'] as const;

export interface DeviceFound {
  readonly adapter: GPUAdapter;
  readonly device: GPUDevice;
  readonly info: GPUAdapterInfo | undefined;
}

function gpuOfNavigator(): GPU {
  const { gpu } = (globalThis.navigator ?? {}) as { gpu?: GPU };
  if (gpu) return gpu;
  throw new WebGPUError(
    'no-webgpu',
    'WebGPU is wanted and navigator.gpu is missing; in a browser take a secure page (https or localhost) and a version that has WebGPU, ' +
      'in Node npm install webgpu and call provideWebGPU() of @spft/backend-webgpu/node',
  );
}

/**
 * @throws WebGPUError where WebGPU, an adapter or a device is missing, or the adapter's limits are too low.
 */
export async function requestDevice(): Promise<DeviceFound> {
  const adapter = await gpuOfNavigator().requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) {
    throw new WebGPUError(
      'no-adapter',
      'WebGPU found no adapter: no GPU with a driver that it takes; install a Vulkan driver, or let the browser use the GPU ' +
        '(chrome://gpu says what is blocked)',
    );
  }
  checkLimits(adapter.limits);
  const requiredFeatures = WANTED.filter((name) => adapter.features.has(name)) as GPUFeatureName[];
  const requiredLimits: Record<string, number> = {};
  for (const name of RAISED) requiredLimits[name] = adapter.limits[name as keyof GPUSupportedLimits] as number;
  try {
    const device = await adapter.requestDevice({ requiredFeatures, requiredLimits });
    return { adapter, device, info: (adapter as { info?: GPUAdapterInfo }).info };
  } catch (cause) {
    throw new WebGPUError(
      'no-device',
      `WebGPU's adapter gave no device: ${(cause as Error).message}; another program may hold the GPU, or its driver have failed: try again`,
      { cause },
    );
  }
}

/** @throws WebGPUError where one is lower than the kernels need. */
export function checkLimits(limits: Readonly<Partial<Record<keyof typeof NEEDED, number>>>): void {
  for (const [name, least] of Object.entries(NEEDED)) {
    const found = limits[name as keyof typeof NEEDED] ?? 0;
    if (found < least) {
      throw new WebGPUError(
        'limit',
        `WebGPU's adapter has ${name} ${found}, these kernels need ${least}; use another adapter, or the backend 'wasm'`,
      );
    }
  }
}
