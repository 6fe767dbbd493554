/** @file The program: starts the backend that `SPFT_BACKEND` names and runs. */
import { activateBackend } from '@spft/backends';
import { runParity } from './run.js';

process.exitCode = 1;
try {
  const { name, why } = await activateBackend(process.env.SPFT_BACKEND || 'cpu');
  console.log(`backend ${name}: ${why}`);
  process.exitCode = await runParity(process.argv.slice(2), console.log);
} catch (error) {
  if (typeof (error as { code?: unknown }).code !== 'string') throw error;
  console.error((error as Error).message);
}
