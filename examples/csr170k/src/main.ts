/** @file Runs the recipe with the flags of this command line. */
import { run } from './csr170k.js';

process.exitCode = await run(process.argv.slice(2));
