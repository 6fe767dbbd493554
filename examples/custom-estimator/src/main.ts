/** @file Runs the example on the best backend that this machine has. */
import { activateBackend } from '@spft/backends';
import { run } from './custom-estimator.js';

console.log((await activateBackend()).why);
await run();
