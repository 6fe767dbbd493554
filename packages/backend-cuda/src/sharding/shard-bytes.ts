/** @file How the bytes of a matrix are divided among ranks. */

/** Shards begin at multiples of it. */
const ALIGNMENT = 256;

/** Bytes of a shard where `bytes` are divided among `size` ranks: those of the last may be fewer. */
export const shardBytes = (bytes: number, size: number): number => Math.ceil(bytes / size / ALIGNMENT) * ALIGNMENT;
