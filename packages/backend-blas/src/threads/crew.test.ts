/** @file Threads are not ended while they load native code, and do not begin to where the process ends: Node would abort it. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Crew } from './crew.js';
import { CONTROL, STATE } from './interpreter.js';
import { whileLoading } from './loading.js';

const [LOADS, NEVER, LOADED] = [0, 1, 2];

let crew: Crew | null = null;
afterEach(() => crew?.dispose());

/** One more thread, which takes its time to load. */
function slowCrew(): { marks: Int32Array; states: Int32Array } {
  const shared = (words: number) => new Int32Array(new SharedArrayBuffer(4 * words));
  const [marks, control, states] = [shared(3), shared(CONTROL.words), shared(2)];
  const load = `
    Atomics.store(marks, ${LOADS}, 1);
    Atomics.notify(marks, ${LOADS});
    Atomics.wait(marks, ${NEVER}, 0, 300);
    Atomics.store(marks, ${LOADED}, 1);`;
  const text = `
    const { thread, loads, marks } = require('node:worker_threads').workerData;
    ${whileLoading(load)}
    Atomics.wait(marks, ${NEVER}, 0);`;
  crew = new Crew(2, text, { marks }, { control, states });
  return { marks, states };
}

describe('Crew', () => {
  it('waits for a thread that loads before it ends it', () => {
    const { marks } = slowCrew();
    Atomics.wait(marks, LOADS!, 0, 60_000);
    crew!.dispose();
    expect(Atomics.load(marks, LOADED!)).toBe(1);
  });

  it('lets no thread begin to load when the process ends', async () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const before = process.listenerCount('exit');
    const { marks, states } = slowCrew();
    // What the end of the process calls. The other thread has had no time to start.
    (process.listeners('exit').at(-1) as () => void)();
    await vi.waitFor(() => expect(Atomics.load(states, 1)).toBe(STATE.ended), 60_000);
    expect([...marks]).toEqual([0, 0, 0]);
    crew!.dispose();
    expect(process.listenerCount('exit')).toBe(before);
    vi.restoreAllMocks();
  });
});
