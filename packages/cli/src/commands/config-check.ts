/** @file `spft config check`: every problem of config files, with line and path, before a run finds them one by one. */
import type { AddCommand } from './add-command.js';

export const addConfigCommand: AddCommand = (program, context) => {
  const config = program.command('config').description('work with config files');
  config
    .command('check')
    .description('check sparsity, training and hub config files: every problem with line and path')
    .argument('<file...>', 'YAML or JSON files, or directories in the hub layout')
    .option('--model <dir>', "also check layer names and predictors' sizes against this model directory or hub id")
    .option('--json', 'print JSON')
    .action(async (files: string[], flags: { model?: string; json?: boolean }, command) => {
      const { output } = context(command);
      const { checkConfigs, reportChecks } = await import('../runs/check-configs.js');
      reportChecks(await checkConfigs(files, flags.model), flags.json ?? false, output);
    });
};
