/**
 * @file How long a GPU takes for a launch within a graph, as in a recorded step. One by one, small launches take as long as the host needs for each: of two
 * kernels of 5 and 7 us such times tell nothing.
 */
import type { Device } from './device.js';

/**
 * Milliseconds of one of `times` launches of `run`, one behind the other in a graph that is launched twice, of which the second time counts. Waits for it.
 * @throws CudaError, what `run` throws. Nothing is left of the graph then either.
 */
export function millisecondsInGraph(device: Device, times: number, run: () => void): number {
  device.beginCapture();
  let graph = 0;
  let executable = 0;
  try {
    try {
      for (let n = 0; n < times; n++) run();
    } finally {
      graph = device.endCapture();
    }
    executable = device.handle('cuGraphInstantiateWithFlags', graph, 0);
    const launch = () => device.call('cuGraphLaunch', executable, device.stream);
    launch();
    return device.milliseconds(launch) / times;
  } finally {
    if (executable !== 0) device.driver.cuGraphExecDestroy(executable);
    if (graph !== 0) device.driver.cuGraphDestroy(graph);
  }
}
