/** @file `spft analyze`: statistics over runs. `spft compare`: two runs beside each other. */
import type { Command } from 'commander';
import { addFlags } from '../flags.js';
import type { AnalyzeFlags, CompareFlags } from '../runs/run-analyze.js';
import type { AddCommand } from './add-command.js';

export const addAnalyzeCommand: AddCommand = (program, context) => {
  const analyze = program
    .command('analyze')
    .description(
      'statistics over runs, e.g. the seeds of one: mean, median, symmetric trimmed means, deviation; curves of loss',
    )
    .argument('<run...>', 'output directories, or a directory with one for each seed');
  addFlags(analyze, [
    { name: 'csv', value: '<file>', description: 'write the table as CSV' },
    { name: 'html', value: '<file>', description: 'write a page with the curves of loss over each other' },
    { name: 'json', value: '<file>', description: 'write everything as JSON; - for stdout' },
  ]);
  analyze.action(async (runs: string[], _: unknown, self: Command) => {
    const { output } = context(self);
    const { runAnalyze } = await import('../runs/run-analyze.js');
    await runAnalyze(runs, self.opts<AnalyzeFlags>(), output);
  });
  const compare = program
    .command('compare')
    .description('whether two runs’ settings and results are alike, and where they differ')
    .argument('<a>', 'output directory of a run')
    .argument('<b>', 'output directory of another');
  addFlags(compare, [{ name: 'json', value: '<file>', description: 'write the differences as JSON; - for stdout' }]);
  compare.action(async (a: string, b: string, _: unknown, self: Command) => {
    const { output } = context(self);
    const { runCompare } = await import('../runs/run-analyze.js');
    await runCompare(a, b, self.opts<CompareFlags>(), output);
  });
};
