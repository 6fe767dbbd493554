/** @file Exporting from the command line. */
import { realpath, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { ExportType } from '@spft/models';
import { saveGguf, saveGgufAdapter } from '@spft/models/node';
import { CliError } from '../errors.js';
import { loadAdapter } from '../steps/attach-adapter.js';
import { openBackend } from '../steps/open-backend.js';
import { type OpenedModel, openModel, shortName } from '../steps/open-model.js';
import { requireWritable } from '../steps/writable.js';
import type { Output } from '../terminal/output.js';
import type { Status } from '../terminal/status-line.js';

export interface ExportRequest {
  readonly modelNameOrPath: string;
  readonly adapter?: string;
  /** File to write. */
  readonly gguf: string;
  readonly type?: ExportType;
  /** The adapter alone. */
  readonly lora?: boolean;
  /** Replace a file that is at `gguf`. */
  readonly force?: boolean;
  readonly revision?: string;
  readonly allowOtherBase?: boolean;
  readonly backend?: string;
}

export async function runExport(request: ExportRequest, output: Output): Promise<void> {
  const { gguf: out, adapter, lora = false, type } = request;
  if (lora && adapter === undefined) throw new CliError('--lora: writes an adapter alone; name it by --adapter');
  const loraType = loraTypeOf(type, lora);
  await requireFree(out, request.force ?? false);
  await requireWritable(out, '--gguf', 'name another');
  await openBackend(request.backend, output);
  const opened = await openModel(request.modelNameOrPath, output, { revision: request.revision });
  try {
    await requireOther(out, opened);
    const peft =
      adapter === undefined
        ? null
        : await loadAdapter(opened, adapter, output, { allowOtherBase: request.allowOtherBase });
    const status = output.task(`export ${out}`);
    const onProgress = (written: number, total: number) => status.update(written / total);
    try {
      if (lora) {
        await saveGgufAdapter(out, peft!, { type: loraType, name: shortName(adapter!), onProgress });
        await finished(out, status, loraType);
      } else {
        peft?.merge({ reversible: false });
        const name = shortName(adapter ?? request.modelNameOrPath);
        const chosen = type ?? 'f16';
        const notices = await saveGguf(out, opened.model, { type: chosen, source: opened.directory, name, onProgress });
        await finished(out, status, chosen);
        for (const notice of notices) output.note(notice);
      }
    } catch (error) {
      status.fail();
      throw error;
    } finally {
      peft?.dispose();
    }
    output.print(out);
  } finally {
    opened.model.dispose();
  }
}

function loraTypeOf(type: ExportType | undefined, lora: boolean): 'f32' | 'f16' | 'bf16' {
  if (type === undefined || type === 'f32' || type === 'f16' || type === 'bf16') return type ?? 'f32';
  if (!lora) return 'f32';
  throw new CliError(
    `--type ${type}: an adapter alone is written in f32, f16 or bf16, as its ranks are no whole blocks`,
  );
}

async function requireFree(out: string, force: boolean): Promise<void> {
  const found = await stat(out).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (found === null) return;
  if (found.isDirectory())
    throw new CliError(`--gguf ${out}: is a directory; name a file in it, ${resolve(out, 'model.gguf')} for instance`);
  if (!found.isFile()) throw new CliError(`--gguf ${out}: is no regular file; name another`);
  if (!force) throw new CliError(`--gguf ${out}: is there already; name another file, or give --force to replace it`);
}

async function requireOther(out: string, { directory }: OpenedModel): Promise<void> {
  const target = await realpath(out).catch(() => resolve(out));
  if ((await realpath(directory)) === target)
    throw new CliError(`--gguf ${out}: is what the export is made from; name another file`);
}

async function finished(out: string, status: Status, type: string): Promise<void> {
  const { size } = await stat(out);
  status.done(`${type}, ${(size / 1e6).toFixed(1)} MB, read again and compared`);
}
