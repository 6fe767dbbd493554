/** @file `spft doctor`: what this machine has, which backends compute here, which would be chosen and why. Always exits 0. */
import type { AddCommand } from './add-command.js';

export const addDoctorCommand: AddCommand = (program, context) => {
  program
    .command('doctor')
    .description('say what this machine has, and which backend would be chosen and why')
    .option('--json', 'print JSON')
    .action(async (flags: { json?: boolean }, command) => {
      const { output, backend } = context(command);
      const { examine, describeMachine } = await import('../runs/doctor.js');
      const report = await examine(output.io.env, backend);
      output.print(flags.json ? JSON.stringify(report, null, 2) : describeMachine(report, output));
    });
};
