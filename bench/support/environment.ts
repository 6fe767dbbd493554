/** @file Where and of what a measurement was made: without it a number means nothing. */
import { execFileSync } from 'node:child_process';
import { arch, cpus, loadavg, platform, totalmem } from 'node:os';

export interface Environment {
  readonly device: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly platform: string;
  readonly node: string;
  readonly backend: string;
  /** Commit of the repository; with `+` where files differ from it, null outside of one. */
  readonly commit: string | null;
  readonly date: string;
  /** Processes that wanted a core in the minute before: above `cores` the machine was shared, and only ratios count. */
  readonly load: number;
}

export function environment(backend: string): Environment {
  return {
    device: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
    platform: `${platform()} ${arch()}`,
    node: process.version,
    backend,
    commit: commit(),
    date: new Date().toISOString(),
    load: Math.round(loadavg()[0]! * 10) / 10,
  };
}

function commit(): string | null {
  const git = (...args: string[]) =>
    execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    const changed = git('status', '--porcelain', '--untracked-files=no', '--', 'packages', 'bench').trim() !== '';
    return `${git('rev-parse', '--short=12', 'HEAD').trim()}${changed ? '+' : ''}`;
  } catch {
    return null;
  }
}
