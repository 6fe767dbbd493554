/** @file Says what the example shows. */
import { run } from './fused-ops.js';

await run((line) => console.log(line));
