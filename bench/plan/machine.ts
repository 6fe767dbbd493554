/** @file What the plan takes as given, with where each number is from. */

export interface Machine {
  /** FLOP/s of the frozen products within a training step. */
  readonly flops: number;
  /** Bytes of a GPU that tensors can have. */
  readonly memory: number;
  /** GPUs of a host, which NVLink connects. */
  readonly gpusOfHost: number;
  /** Bytes/s in which a GPU gets what the others of its host have (an all-gather's whole bytes · (N − 1)/N by its time). */
  readonly withinHost: number;
  /** The same between hosts: of all GPUs of a host together, as each host gets the others' bytes once. */
  readonly betweenHosts: number;
}

/** An H200, hosts of eight. */
export const H200: Machine = {
  // dense_lora of bench/results/h200.json: 116.5 TFLOP in 203.7 ms.
  flops: 572e12,
  // 139.8 GiB, less what the context, NCCL and cuBLASLt's workspace take.
  memory: 137 * 2 ** 30,
  gpusOfHost: 8,
  // Half of a GiB in 1.98 ms, measured on two (bench/results/scaling-h200-x2.json), without NVLink multicast; taken for eight too.
  withinHost: 271e9,
  // Assumed, not measured: eight ports of 400 Gb/s, of which NCCL reaches nine tenths.
  betweenHosts: 360e9,
};
