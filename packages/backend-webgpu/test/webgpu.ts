/**
 * @file WebGPU for tests: Dawn on whatever Vulkan driver there is, else on SwiftShader, a Vulkan for processors that comes with Chromium. No test
 * passes without it: they are skipped, and fail where `SPFT_REQUIRE_BACKENDS` has webgpu.
 */
import { existsSync } from 'node:fs';
import { provideWebGPU } from '@spft/backend-webgpu/node';
import * as tf from '@tensorflow/tfjs';
import { describe } from 'vitest';
import { orRequired } from '../../../test/support/required.js';
import { requestDevice } from '../src/device/adapter.js';
import type { SpftWebGPUBackend } from '../src/device/backend.js';
import '../src/index.js';

const SWIFTSHADER = [
  '/usr/lib/chromium/vk_swiftshader_icd.json',
  '/usr/lib/chromium-browser/vk_swiftshader_icd.json',
  '/opt/google/chrome/vk_swiftshader_icd.json',
];

/**
 * Dawn has workgroups' memory zeroed by the shader's own code then, and not by Vulkan: SwiftShader makes a store of each word of it, of which most
 * of the time to compile a shader of ours was.
 */
const FLAGS = ['disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension'];

async function whyMissing(): Promise<string | null> {
  const found = SWIFTSHADER.find((file) => existsSync(file));
  // VK_DRIVER_FILES is what newer loaders read.
  if (!process.env.VK_ICD_FILENAMES && !process.env.VK_DRIVER_FILES && found) process.env.VK_ICD_FILENAMES = found;
  try {
    await provideWebGPU({ flags: FLAGS });
    (await requestDevice()).device.destroy();
    return null;
  } catch (error) {
    return `${(error as Error).message}; Debian's package chromium has SwiftShader`;
  }
}

/** Why tests do not run on `webgpu` here, or null where they do. */
export const missing: string | null = orRequired('webgpu', await whyMissing());

export const describeWebGPU = (title: string, body: () => void): void => {
  describe.skipIf(missing !== null)(missing ? `${title} (skipped without WebGPU: ${missing})` : title, body);
};

export const webgpu = (): SpftWebGPUBackend => tf.findBackend('webgpu') as unknown as SpftWebGPUBackend;

/** Makes `webgpu` active. */
export async function useWebGPU(): Promise<void> {
  if (!(await tf.setBackend('webgpu'))) throw new Error("tests: backend 'webgpu' did not start");
  await tf.ready();
}
