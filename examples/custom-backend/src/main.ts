/** @file Says what the example shows. */
import { run } from './custom-backend.js';

await run((line) => console.log(line));
