/** @file Merging from the command line. */
import { readdir, realpath } from 'node:fs/promises';
import { resolve } from 'node:path';
import { saveModel } from '@spft/models/node';
import { CliError } from '../errors.js';
import { loadAdapter } from '../steps/attach-adapter.js';
import { locateAdapter } from '../steps/locate-repo.js';
import { openBackend } from '../steps/open-backend.js';
import { openModel } from '../steps/open-model.js';
import { requireWritable } from '../steps/writable.js';
import type { Output } from '../terminal/output.js';

export interface MergeRequest {
  readonly modelNameOrPath: string;
  readonly adapter: string;
  readonly out: string;
  /** Default: f32 where the base's weights are, else bf16. */
  readonly dtype?: 'bf16' | 'f32';
  /** Replace a model that is at `out`. */
  readonly force?: boolean;
  readonly revision?: string;
  readonly allowOtherBase?: boolean;
  readonly backend?: string;
}

export async function runMerge(request: MergeRequest, output: Output): Promise<void> {
  const { out, force = false } = request;
  const there = await readdir(out).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  if (there.length > 0 && !force) {
    throw new CliError(
      `${out}: is not empty (${there.slice(0, 3).join(', ')}); name another --out, or give --force to replace a model there`,
    );
  }
  await requireWritable(out, '--out', 'name another');
  const adapter = await locateAdapter(request.adapter, output);
  await openBackend(request.backend, output);
  const opened = await openModel(request.modelNameOrPath, output, { revision: request.revision });
  try {
    const isBase = async (dir: string) => (await realpath(dir)) === (await realpath(out).catch(() => resolve(out)));
    for (const source of [opened.directory, adapter]) {
      if (await isBase(source)) throw new CliError(`${out}: is what the merged model is made from; name another --out`);
    }
    const peft = await loadAdapter(opened, adapter, output, request);
    const dtype = request.dtype ?? (opened.isFloat32 ? 'f32' : 'bf16');
    const status = output.task(`merge into ${out}`);
    try {
      peft.merge({ reversible: false });
      await saveModel(out, opened.model, {
        dtype,
        source: opened.directory,
        onProgress: (written, total) => status.update(written / total),
      });
      status.done(dtype);
    } catch (error) {
      status.fail();
      throw error;
    } finally {
      peft.dispose();
    }
    output.print(out);
  } finally {
    opened.model.dispose();
  }
}
