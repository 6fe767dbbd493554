import { describe, expect, it } from 'vitest';
import { string } from './metadata.js';
import { encode } from './quants/encode.js';
import { serializeGguf } from './serialize.js';
import { writeGgufTo } from './write-to.js';

describe('writeGgufTo()', () => {
  it('gives a sink the bytes of a whole file, padding included', async () => {
    const metadata = new Map([['general.architecture', string('llama')]]);
    const values = Float32Array.from({ length: 33 }, (_, n) => n / 7);
    const data = encode('F16', values);
    const spec = { type: 'F16' as const, shape: [33] };
    const whole = new Uint8Array(4096);
    let end = 0;
    const sink = {
      write(bytes: Uint8Array, at: number) {
        whole.set(bytes, at);
        end = Math.max(end, at + bytes.length);
      },
    };
    const tensors = new Map(['a', 'b'].map((name) => [name, { ...spec, data: async () => data }]));
    const bytes = await writeGgufTo(sink, metadata, tensors);
    const wanted = serializeGguf(metadata, new Map(['a', 'b'].map((name) => [name, { ...spec, data }])));
    expect([bytes, end]).toEqual([wanted.length, wanted.length]);
    expect(whole.slice(0, end)).toEqual(wanted);
    const short = new Map([['a', { ...spec, data: async () => data.subarray(2) }]]);
    await expect(writeGgufTo(sink, metadata, short, 'x.gguf')).rejects.toThrow(
      "x.gguf: tensor 'a': takes 66 bytes, given are 64",
    );
  });
});
