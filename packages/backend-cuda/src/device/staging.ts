/**
 * @file Copies between host and device. Uploads go through a ring of page-locked memory, so that they return at once and wait for nothing;
 * a half of the ring is used again only after its copies are done.
 */
import { viewOf } from '../libraries/native.js';
import { type Device, driverError } from './device.js';

const HALF = 8 * 2 ** 20;
/** Bytes of a place for what is read without waiting, and how many there are. */
const PLACE = 4096;
const PLACES = 16;

/** Bytes that are on their way to the host. */
export interface Arriving {
  /** What came, once the work so far is done. To be called whatever happens: until then its place is taken. */
  take(): Uint8Array;
}

export class Staging {
  readonly #device: Device;
  readonly #address: number;
  readonly #ring: Uint8Array;
  readonly #copied: readonly [number, number];
  #half = 0;
  #used = 0;
  #small: { readonly address: number; readonly bytes: Uint8Array; readonly free: number[] } | null = null;

  constructor(device: Device) {
    this.#device = device;
    this.#address = device.handle('cuMemHostAlloc', 2 * HALF, 0);
    this.#ring = viewOf(this.#address, 2 * HALF);
    this.#copied = [device.handle('cuEventCreate', 2), device.handle('cuEventCreate', 2)];
  }

  /** Copies the bytes of `values` to the device. They may change as soon as this returns. */
  upload(values: ArrayBufferView, to: number): void {
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    for (let at = 0; at < bytes.length; ) {
      if (this.#used === HALF) this.#turn();
      const count = Math.min(bytes.length - at, HALF - this.#used);
      const place = this.#half * HALF + this.#used;
      this.#ring.set(bytes.subarray(at, at + count), place);
      const { stream } = this.#device;
      this.#device.call('cuMemcpyHtoDAsync_v2', to + at, this.#address + place, count, stream);
      at += count;
      // The next copy begins at a multiple of 64 bytes.
      this.#used = Math.min(HALF, (this.#used + count + 63) & ~63);
    }
  }

  /** Copies from the device to `bytes`, waiting for all work before. */
  download(from: number, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      // What is under way in this half must not be overwritten.
      if (this.#used !== 0) this.#turn();
      const count = Math.min(bytes.length - at, HALF);
      const place = this.#half * HALF;
      this.#device.call('cuMemcpyDtoHAsync_v2', this.#address + place, from + at, count, this.#device.stream);
      this.#device.synchronize();
      bytes.set(this.#ring.subarray(place, place + count), at);
      at += count;
    }
  }

  /**
   * Asks for a copy of a few bytes as they are now, so that work launched after it is not waited for.
   * @returns null where there are too many bytes, or too many such copies under way.
   */
  ask(from: number, count: number): Arriving | null {
    if (count > PLACE) return null;
    if (this.#small === null) {
      const address = this.#device.handle('cuMemHostAlloc', PLACE * PLACES, 0);
      const free = Array.from({ length: PLACES }, (_, n) => n);
      this.#small = { address, bytes: viewOf(address, PLACE * PLACES), free };
    }
    const { address, bytes, free } = this.#small;
    const place = free.pop();
    if (place === undefined) return null;
    const at = place * PLACE;
    const status = this.#device.driver.cuMemcpyDtoHAsync_v2(address + at, from, count, this.#device.stream);
    if (status !== 0) {
      free.push(place);
      throw driverError('cuMemcpyDtoHAsync_v2', status);
    }
    let taken: Uint8Array | null = null;
    return {
      take: () => {
        if (taken === null) {
          taken = bytes.slice(at, at + count);
          free.push(place);
        }
        return taken;
      },
    };
  }

  /** Goes on in the other half, once its copies are done. */
  #turn(): void {
    this.#device.call('cuEventRecord', this.#copied[this.#half]!, this.#device.stream);
    this.#half = 1 - this.#half;
    this.#device.call('cuEventSynchronize', this.#copied[this.#half]!);
    this.#used = 0;
  }
}
