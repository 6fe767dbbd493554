/** @file Holds the backend's kernel to the contract, by Node's own test runner: `npm run conformance -w examples/custom-backend`. */
import { describe, test } from 'node:test';
import { describeConformance } from '@spft/sparse-ops/conformance';
import { BACKEND_NAME, registerMyBackend } from './backend.js';

registerMyBackend();
describeConformance({ backend: BACKEND_NAME, describe, it: test });
