/** @file PyTorch's rows: the same step by PyTorch + transformers + PEFT, in a process of its own. */
import { spawnSync } from 'node:child_process';
import type { RowResult } from './measure.js';

interface PeerLine {
  readonly step_ms: number;
  readonly p20?: number;
  readonly p80?: number;
  readonly host_ms?: number;
  readonly tokens_per_s: number;
  readonly peak_gib: number;
  readonly loss: number;
}

/** SmolLM2-135M's shape, and adapters on its seven projections. */
const SMOLLM2 = {
  ...{ LAYERS: '30', HIDDEN: '576', INTER: '1536', HEADS: '9', KV: '3', VOCAB: '49152', TIE: '1', THETA: '100000' },
  ...{ B: '16', S: '130', O: '32', TARGETS: 'q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj' },
};

/** The rows that PyTorch's script can measure, by their names without `torch_`. */
export const PEER_MODES: readonly string[] = [
  ...['hf', 'liger', 'liger_full', 'dora', 'qlora', 'liger_2x2048', 'qlora_2x2048', 'qlora_checkpointed_2x2048'],
  ...['smollm2', 'smollm2_compile', 'smollm2_compile_graphs'],
];

/** The script's mode and shape of a row's name without `torch_`: `hf`, `dora`, `liger_2x2048`, `qlora_checkpointed_2x2048`, `smollm2`, `smollm2_compile`. */
function peerCall(name: string): { readonly mode: string; readonly shape: Readonly<Record<string, string>> } {
  if (name.startsWith('smollm2')) return { mode: name.replace(/^smollm2_?/, '') || 'hf', shape: SMOLLM2 };
  if (name.endsWith('_2x2048')) return { mode: name.replace('_2x2048', ''), shape: { B: '2', S: '2048', O: '512' } };
  return { mode: name, shape: { B: '8', S: '512', O: '128' } };
}

/**
 * @param script torch_peer.py. @param mode the row's name without `torch_`.
 * @param steps timed steps, after 8 that are not.
 * @returns the row, or why there is none.
 */
export function peerRow(script: string, mode: string, steps: number): RowResult | string {
  const call = peerCall(mode);
  const { status, stdout, stderr } = spawnSync('python3', [script, call.mode], {
    encoding: 'utf8',
    env: { ...process.env, ...call.shape, WARM: '8', ITERS: String(steps) },
  });
  const text = stdout.trim().split('\n').at(-1) ?? '';
  if (status !== 0 || !text.startsWith('{')) return `failed (${status}): ${stderr.trim().split('\n').at(-1)}`;
  const { step_ms, p20 = step_ms, p80 = step_ms, host_ms, tokens_per_s, peak_gib, loss } = JSON.parse(text) as PeerLine;
  const losses = [loss];
  return {
    name: `torch_${mode}`,
    msPerStep: step_ms,
    p20,
    p80,
    ...(host_ms !== undefined && { hostMs: host_ms }),
    tokensPerSecond: tokens_per_s,
    peakGiB: peak_gib,
    losses,
  };
}
