/** @file The worker's entry: requests in, answers and events out. */
import { explain } from '../engine/errors.js';
import type { FromWorker, RequestName, ToWorker } from '../protocol.js';
import { Session } from './session.js';

const scope = globalThis as unknown as {
  onmessage: ((message: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: FromWorker): void;
};

const session = new Session((event) => scope.postMessage(event));

async function answer(id: number, name: RequestName, ask: unknown): Promise<void> {
  try {
    const handler = session[name] as (this: Session, ask: unknown) => Promise<unknown>;
    scope.postMessage({ id, give: await handler.call(session, ask) });
  } catch (error) {
    console.warn(error);
    scope.postMessage({ id, failure: explain(error) });
  }
}

scope.onmessage = ({ data: { id, name, ask } }) => {
  void answer(id, name, ask);
};
