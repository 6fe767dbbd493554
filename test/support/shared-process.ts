/**
 * @file What a test file finds that shares its process with others (vitest.config.ts): the environment of the process, the working directory, and the
 * backend `cpu`, whatever the file before it left.
 */
import { afterAll, vi } from 'vitest';

interface Engine {
  readonly registryFactory: Readonly<Record<string, unknown>>;
  setBackend(name: string): Promise<boolean>;
}

const [env, cwd] = [{ ...process.env }, process.cwd()];

// Hooks of a setup file run after those of the test file.
afterAll(async () => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.unstubAllEnvs();
  for (const name of Object.keys(process.env)) if (!(name in env)) delete process.env[name];
  Object.assign(process.env, env);
  process.chdir(cwd);
  // As tfjs keeps it for all copies of itself; absent where the file loaded no tfjs.
  const engine = (globalThis as { _tfengine?: Engine })._tfengine;
  if (engine && 'cpu' in engine.registryFactory) await engine.setBackend('cpu');
});
