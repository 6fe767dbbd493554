/** @file Which versions of the libraries go with a driver. */
import type { DeviceInfo } from '../device/device.js';
import { CudaUnavailableError } from '../errors.js';

const majorOf = (version: string): number => Number.parseInt(version, 10);

/**
 * @param device absent where there is no GPU: then only the library's age is looked at.
 * @throws CudaUnavailableError unless a library of CUDA `version` is of 12 or newer, and no later major version than the driver.
 */
export function checkVersion(library: string, version: string, device: DeviceInfo | undefined): void {
  if (majorOf(version) < 12)
    throw new CudaUnavailableError(`${library} is of CUDA ${version}; 12.0 or newer is needed`);
  if (device === undefined || majorOf(version) <= majorOf(device.driver)) return;
  throw new CudaUnavailableError(
    `${library} is of CUDA ${version}, newer than the driver, which supports ${device.driver}; one of CUDA ${majorOf(device.driver)} is needed`,
  );
}
