/** @file Slurm's short forms: lists of hosts (`gpu[01-03,07]-ib,login1`) and of tasks on each (`2(x3),1`). */
import type { Environment } from './variables.js';
import { readNumber } from './variables.js';

/** The first host of a step, where rank 0 is; null where no list is set. */
export function firstHost(env: Environment): string | null {
  const list = env.SLURM_STEP_NODELIST || env.SLURM_JOB_NODELIST || env.SLURM_NODELIST;
  if (!list) return null;
  // The first entry, as far as a comma outside of brackets.
  const entry = /^(?:[^,[\]]|\[[^\]]*\])*/.exec(list)![0];
  return entry.replace(/\[([^\],-]*)[^\]]*\]/g, '$1') || null;
}

/** Tasks on this node; null where it cannot be told. */
export function tasksOnNode(env: Environment): number | null {
  const list = env.SLURM_STEP_TASKS_PER_NODE || env.SLURM_TASKS_PER_NODE;
  const node = readNumber(env, 'SLURM_NODEID', {});
  if (!list || node === null) return null;
  let first = 0;
  for (const entry of list.split(',')) {
    const found = /^(\d+)(?:\(x(\d+)\))?$/.exec(entry.trim());
    if (found === null) return null;
    first += Number(found[2] ?? 1);
    if (node < first) return Number(found[1]);
  }
  return null;
}
