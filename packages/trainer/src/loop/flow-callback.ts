/**
 * @file When to log, evaluate, save and stop: transformers' `DefaultFlowCallback`. Always the first of a trainer's callbacks, so that
 * others can overrule it.
 */
import type { TrainerCallback, TrainerContext } from './callbacks.js';

export class DefaultFlowCallback implements TrainerCallback {
  onStepEnd({ args, state, control }: TrainerContext): void {
    const { globalStep } = state;
    if (args.loggingStrategy === 'steps' && globalStep % args.loggingSteps === 0) control.shouldLog = true;
    if (args.loggingFirstStep && globalStep === 1) control.shouldLog = true;
    if (args.evalStrategy === 'steps' && globalStep % args.evalSteps === 0) control.shouldEvaluate = true;
    if (args.saveStrategy === 'steps' && globalStep % args.saveSteps === 0) control.shouldSave = true;
    if (globalStep >= state.maxSteps) {
      control.shouldTrainingStop = true;
      if (args.evalStrategy === 'steps') control.shouldEvaluate = true;
      if (args.saveStrategy === 'steps') control.shouldSave = true;
    }
  }

  onEpochEnd({ args, control }: TrainerContext): void {
    if (args.loggingStrategy === 'epoch') control.shouldLog = true;
    if (args.evalStrategy === 'epoch') control.shouldEvaluate = true;
    if (args.saveStrategy === 'epoch') control.shouldSave = true;
  }
}
