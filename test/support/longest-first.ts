/**
 * @file The order of test files: those that have a process of their own before those that share one, and the longest of each first. Whatever comes last
 * is short then, so that no worker is left alone with a long file at the end. A fresh clone has no times of earlier runs; `long-files.json` has those
 * of the longest files, in seconds of a run on two cores, and the others go by their size. It need not be right, nor complete.
 */
import { readFileSync, statSync } from 'node:fs';
import { relative } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const SECONDS: Readonly<Record<string, number>> = JSON.parse(
  readFileSync(new URL('long-files.json', import.meta.url), 'utf8'),
);

/** What is said of a file that is not listed: less than of any that is, and more of one with more text. */
const bySize = (file: string): number => statSync(file).size / 1e6;

export default class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const { root } = this.ctx.config;
    const keyed = files.map((spec) => ({
      spec,
      shares: spec.project.config.isolate ? 0 : 1,
      seconds: SECONDS[relative(root, spec.moduleId)] ?? bySize(spec.moduleId),
    }));
    return keyed.sort((a, b) => a.shares - b.shares || b.seconds - a.seconds).map(({ spec }) => spec);
  }
}
