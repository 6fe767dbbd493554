/** @file The commands and what they share: `--quiet`, `--backend`, help, and where errors of the command line go. */
import { Command, Option } from 'commander';
import pc from 'picocolors';
import type { GlobalFlags } from './commands/add-command.js';
import { addAnalyzeCommand } from './commands/analyze.js';
import { addArcCommand, addHumanEvalCommand, addMtBenchCommand } from './commands/benchmarks.js';
import { addConfigCommand } from './commands/config-check.js';
import { addDataCommand } from './commands/data-show.js';
import { addDoctorCommand } from './commands/doctor.js';
import { addEvalCommand } from './commands/eval.js';
import { addExportCommand } from './commands/export.js';
import { addGenerateCommand } from './commands/generate.js';
import { addGlueCommand } from './commands/glue.js';
import { addMergeCommand } from './commands/merge.js';
import { addPredictorCommand } from './commands/predictor-build.js';
import { addSparsityCommand } from './commands/sparsity-plan.js';
import { addSpeedCommand } from './commands/speed.js';
import { addTrainCommand } from './commands/train.js';
import type { CliIo } from './terminal/io.js';
import { Output } from './terminal/output.js';
import { VERSION } from './version.js';

export function createProgram(io: CliIo): Command {
  const program = new Command('spft')
    .description(
      'Fine-tune Llama-family language models with contextual sparsity (SparseLoRA), and use what comes out.',
    )
    .version(VERSION, '--version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .helpCommand('help [command]', 'show help of a command')
    .addOption(new Option('--quiet', 'print results and errors only'))
    .addOption(
      new Option('--backend <name>', 'tfjs backend; default: SPFT_BACKEND, then the best available (spft doctor)'),
    )
    .configureHelp({ showGlobalOptions: true, helpWidth: io.stdout.columns ?? 100 })
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: (text) => void io.stderr.write(text),
      outputError: (text, write) => {
        const colors = pc.createColors(!io.env.NO_COLOR && io.stderr.isTTY === true);
        write(text.replace(/^error:/, colors.red('error:')));
      },
    })
    .exitOverride();
  for (const add of [
    addTrainCommand,
    addEvalCommand,
    addGenerateCommand,
    addPredictorCommand,
    addSparsityCommand,
    addMergeCommand,
    addExportCommand,
    addGlueCommand,
    addHumanEvalCommand,
    addMtBenchCommand,
    addArcCommand,
    addSpeedCommand,
    addAnalyzeCommand,
    addDataCommand,
    addConfigCommand,
    addDoctorCommand,
  ]) {
    add(program, (command) => {
      const { quiet, backend } = command.optsWithGlobals<GlobalFlags>();
      return { output: new Output(io, quiet), backend: backend ?? (io.env.SPFT_BACKEND || undefined) };
    });
  }
  nameLongerFlags(program);
  return program;
}

/**
 * Names flags that a mistaken one begins, or that begin it, where commander knows none like it: it counts differing letters, so that
 * `--lr_scheduler` is far from `--lr_scheduler_type`.
 */
function nameLongerFlags(command: Command): void {
  const { outputError } = command.configureOutput();
  command.configureOutput({
    outputError: (text, write) => {
      const unknown = /^error: unknown option '(--[\w-]+)'\n$/.exec(text)?.[1];
      const meant = command.options.flatMap(({ long, hidden }) =>
        long && !hidden && unknown && (long.startsWith(unknown) || unknown.startsWith(long)) ? long : [],
      );
      const more = meant.length === 0 ? '' : `(Did you mean ${meant.slice(0, 3).join(', ')}?)\n`;
      outputError?.(`${text}${more}`, write);
    },
  });
  for (const inner of command.commands) nameLongerFlags(inner);
}
