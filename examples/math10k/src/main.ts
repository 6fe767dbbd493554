/** @file Runs the recipe with the flags of this command line. */
import { run } from './math10k.js';

process.exitCode = await run(process.argv.slice(2));
