/** @file Names of logged values as transformers' integrations write them: `train/loss`, `eval/loss`, so that dashboards made for it fit. */
import type { LogEntry } from '../loop/state.js';

/** A log entry's values by these names, without step and epoch's own step. */
export function metricNames(logs: LogEntry): Record<string, number> {
  const named: Record<string, number> = {};
  for (const [name, value] of Object.entries(logs)) {
    if (name === 'step') continue;
    const match = /^(eval|test)_(.*)$/.exec(name);
    named[match ? `${match[1]}/${match[2]}` : `train/${name}`] = value;
  }
  return named;
}
