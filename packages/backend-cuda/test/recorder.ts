/** @file Tests of recorded steps: a recorder for each of them. */
import { createStepRecorder, type StepRecorder } from '@spft/sparse-ops';
import { afterEach, beforeEach } from 'vitest';

/** A recorder for each test, and what it said in it; disposed after it, before what the caller's own `afterEach` of earlier puts back. */
export function useRecorder(): { steps: StepRecorder; readonly messages: string[] } {
  const messages: string[] = [];
  const used = { steps: null as unknown as StepRecorder, messages };
  beforeEach(() => {
    messages.length = 0;
    used.steps = createStepRecorder({ notify: (message) => messages.push(message) })!;
  });
  afterEach(() => used.steps.dispose());
  return used;
}
