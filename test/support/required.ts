/**
 * @file What must be there for tests: `SPFT_REQUIRE_BACKENDS=blas,chromium,compiler,cuda,mpi,nvrtc,tensorflow,webgpu` lists what was installed for them, as CI does. A test
 * that is skipped elsewhere fails where what it lacks is on the list.
 */

const KNOWN = ['blas', 'chromium', 'compiler', 'cuda', 'mpi', 'nvrtc', 'tensorflow', 'webgpu'] as const;

export type Requirable = (typeof KNOWN)[number];

/**
 * @param missing why tests on it are skipped here, or null.
 * @returns `missing`.
 * @throws Error where it is required and missing, and for a name in the list that means nothing.
 */
export function orRequired(
  name: Requirable,
  missing: string | null,
  env: Readonly<Record<string, string | undefined>> = process.env,
): string | null {
  const required = (env.SPFT_REQUIRE_BACKENDS ?? '').split(',').filter((one) => one !== '');
  const unknown = required.find((one) => !KNOWN.includes(one as Requirable));
  if (unknown) throw new Error(`tests: SPFT_REQUIRE_BACKENDS names '${unknown}'; known are ${KNOWN.join(', ')}`);
  if (missing !== null && required.includes(name)) {
    throw new Error(`tests: ${name} is required here (SPFT_REQUIRE_BACKENDS) and missing: ${missing}`);
  }
  return missing;
}
