/** @file All cases of the conformance suite. */
import type { ConformanceCase } from '../case.js';
import { adapterCases } from './adapters.js';
import { decodeCases } from './decode.js';
import { formCases } from './forms.js';
import { layerCases } from './layers.js';
import { linearCases } from './linear.js';
import { rowAndColumnCases } from './rows-and-columns.js';
import { scoreCases } from './scores.js';
import { tokenWiseCases } from './token-wise.js';
import { updateCases } from './update.js';

export const CASES: readonly ConformanceCase[] = [
  ...linearCases,
  ...adapterCases,
  ...layerCases,
  ...tokenWiseCases,
  ...decodeCases,
  ...rowAndColumnCases,
  ...scoreCases,
  ...updateCases,
  ...formCases,
];
