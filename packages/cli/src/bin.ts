#!/usr/bin/env node
/** @file The spft command. */
import { main } from './main.js';

process.exitCode = await main(process.argv.slice(2));
