import { describe, expect, it } from 'vitest';
import { median, StepClock } from './step-clock.js';

describe('StepClock', () => {
  /** Steps of the given milliseconds and 10 tokens each, with a pause of a second after each. */
  function clockOf(milliseconds: number[], sync: (step: number) => boolean): StepClock {
    let time = 0;
    const clock = new StepClock(() => time);
    milliseconds.forEach((duration, step) => {
      clock.start();
      time += duration;
      clock.endStep(10);
      if (sync(step)) clock.synced();
      time += 1000;
    });
    return clock;
  }

  it('times steps without what lies between them; the median leaves out warm-up', () => {
    const clock = clockOf([900, 800, 700, 10, 20, 90], () => true);
    expect(clock.seconds).toStrictEqual([0.9, 0.8, 0.7, 0.01, 0.02, 0.09]);
    expect(clock.summary()).toStrictEqual({ secondsPerStep: 0.02, tokensPerSecond: 30 / 0.12, steps: 3 });
  });

  it('shares the time between two synchronisations out among the steps between', () => {
    const clock = clockOf([10, 20, 300, 40], (step) => step === 2);
    expect(clock.seconds.map((seconds) => seconds.toFixed(6))).toStrictEqual(['0.110000', '0.110000', '0.110000']);
    clock.start();
    clock.pause();
    clock.synced();
    expect(clock.seconds.at(-1)).toBeCloseTo(0.04, 12);
  });

  it('gives a window since a log line', () => {
    const clock = clockOf([100, 300, 100], () => true);
    expect(clock.window(1)).toStrictEqual({ secondsPerStep: 0.2, tokensPerSecond: 50 });
    expect(clock.window(3)).toBeNull();
  });

  it('has nothing to say of no steps', () => {
    expect(new StepClock().summary()).toStrictEqual({ secondsPerStep: null, tokensPerSecond: null, steps: 0 });
  });
});

describe('median()', () => {
  it('takes the middle, or the mean of two', () => {
    expect([median([3, 1, 2]), median([4, 1, 2, 3]), median([])]).toStrictEqual([2, 2.5, null]);
  });
});
