/** @file PyTorch's rows: the same step by PyTorch + transformers + PEFT, in a process of its own. */
import { spawnSync } from 'node:child_process';
import type { RowResult } from './measure.js';

interface PeerLine {
  readonly step_ms: number;
  readonly tokens_per_s: number;
  readonly peak_gib: number;
  readonly loss: number;
}

/**
 * @param steps over which the mean is taken, after as many that are waited for one by one, and 5 before.
 * @returns the row, or why there is none.
 */
export function peerRow(script: string, mode: string, steps: number): RowResult | string {
  const long = mode.endsWith('_2x2048');
  const shape = long ? { B: '2', S: '2048', O: '512' } : { B: '8', S: '512', O: '128' };
  const { status, stdout, stderr } = spawnSync('python3', [script, long ? mode.replace('_2x2048', '') : mode], {
    encoding: 'utf8',
    env: { ...process.env, ...shape, WARM: '5', ITERS: String(steps) },
  });
  const text = stdout.trim().split('\n').at(-1) ?? '';
  if (status !== 0 || !text.startsWith('{')) return `failed (${status}): ${stderr.trim().split('\n').at(-1)}`;
  const { step_ms, tokens_per_s, peak_gib, loss } = JSON.parse(text) as PeerLine;
  const losses = [loss];
  return {
    name: `torch_${mode}`,
    msPerStep: step_ms,
    p20: step_ms,
    p80: step_ms,
    tokensPerSecond: tokens_per_s,
    peakGiB: peak_gib,
    losses,
  };
}
