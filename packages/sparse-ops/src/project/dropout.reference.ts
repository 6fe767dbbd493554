/** @file Plain loops that say the same as dropout.ts, with BigInt in place of 32-bit tricks. */

const WORD = 2n ** 32n;
const times = (a: bigint, b: bigint): bigint => (a * b) % WORD;
const fold = (h: bigint, bits: bigint): bigint => h ^ (h >> bits);

function lowbias32(x: bigint, within = 0n): bigint {
  const first = (times(fold(x, 16n), 0x7feb352dn) + within) % WORD;
  return fold(times(fold(first, 15n), 0x846ca68bn), 16n);
}

/** Element i is dropped where the keyed hash of i, as a signed number, is among the lowest `rate` of 2³². */
export function dropoutReference(x: Float32Array, rate: number, seed: number): Float32Array {
  const before = lowbias32(BigInt.asUintN(32, BigInt(seed)));
  const within = lowbias32(before ^ 0x9e3779b9n);
  const lowest = Math.round(rate * 2 ** 32) - 2 ** 31;
  return x.map((v, i) => {
    const hash = BigInt.asIntN(32, lowbias32(BigInt(i) ^ before, within));
    return Number(hash) < lowest ? 0 : v / (1 - rate);
  });
}
