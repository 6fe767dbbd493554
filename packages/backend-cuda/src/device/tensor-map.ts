/** @file How Hopper's copies in bulk see a matrix of bytes: a CUtensorMap, which the driver encodes and a kernel takes as a parameter. */
import { bindOptional, HostMemory, type NativeFunction } from '../libraries/native.js';
import { type Device, driverError } from './device.js';

/** Bytes of a CUtensorMap, which lies at a multiple of 64. */
const BYTES = 128;
const SIGNATURE =
  'int NAME(uint64_t map, int type, uint32_t rank, uint64_t address, uint64_t sizes, uint64_t strides, uint64_t box, uint64_t steps, ' +
  'int interleave, int swizzle, int promotion, int outside)';
/** CU_TENSOR_MAP_DATA_TYPE_UINT8, …_INTERLEAVE_NONE, …_SWIZZLE_128B, …_L2_PROMOTION_L2_256B, …_FLOAT_OOB_FILL_NONE. */
const [UINT8, PLAIN, SWIZZLE_128, PROMOTION_256, ZEROS] = [0, 0, 3, 3, 0];

/** Places of what the driver reads, in one piece of memory. */
const [SIZES, STRIDES, BOX, STEPS] = [0, 16, 24, 32];

export class TensorMaps {
  readonly #encode: NativeFunction;
  readonly #memory: HostMemory;
  readonly #inputs = new HostMemory(40);
  readonly #first: number;

  /** @returns null where the driver has no such maps. */
  static of(device: Device, count: number): TensorMaps | null {
    const encode = bindOptional(device.driverPath, 'cuTensorMapEncodeTiled', SIGNATURE);
    return encode && new TensorMaps(encode, count);
  }

  private constructor(encode: NativeFunction, count: number) {
    this.#encode = encode;
    this.#memory = new HostMemory(BYTES * count + 64);
    this.#first = 64 * Math.ceil(this.#memory.address / 64);
    this.#inputs.memory.writeUInt32LE(1, STEPS);
    this.#inputs.memory.writeUInt32LE(1, STEPS + 4);
  }

  /**
   * Writes map number `n`: of [rows, columns] bytes at a device address, rows `stride` apart (both multiples of 16), in boxes of `boxRows` and 128 columns,
   * whose 16 bytes lie in shared memory as its 128-byte swizzle has them.
   * @returns its address, for a parameter `t` of a launch; good until it is written again.
   * @throws CudaError.
   */
  write(n: number, address: number, rows: number, columns: number, stride: number, boxRows: number): number {
    const { memory, address: inputs } = this.#inputs;
    memory.writeUInt32LE(columns, SIZES);
    memory.writeUInt32LE(rows, SIZES + 8);
    memory.writeUInt32LE(stride, STRIDES);
    memory.writeUInt32LE(128, BOX);
    memory.writeUInt32LE(boxRows, BOX + 4);
    const map = this.#first + BYTES * n;
    const places = [inputs + SIZES, inputs + STRIDES, inputs + BOX, inputs + STEPS];
    const status = this.#encode(map, UINT8, 2, address, ...places, PLAIN, SWIZZLE_128, PROMOTION_256, ZEROS);
    if (status !== 0)
      throw driverError('cuTensorMapEncodeTiled', status, `[${rows}, ${columns}], rows ${stride} apart`);
    return map;
  }
}
