/** @file The error of a download, in which nothing secret is said. */

const secrets = new Set<string>();

/** Makes every later message leave `secret` out; servers echo what they were sent. */
export function keepSecret(secret: string): void {
  if (secret.length < 6) return;
  secrets.add(secret);
  secrets.add(encodeURIComponent(secret));
}

/** The text without known secrets, tokens of the hub's form, and passwords in addresses. */
export function withoutSecrets(text: string): string {
  let safe = text;
  for (const secret of secrets) safe = safe.replaceAll(secret, '***');
  return safe
    .replace(/\bhf_[A-Za-z0-9]{8,}/g, 'hf_***')
    .replace(/([a-z][a-z0-9+.-]{0,20}:\/\/)[^\s/@?#]{1,500}@/gi, '$1***@')
    .replace(/\b(Bearer|Basic)\s+[\w.~+/=-]{6,}/gi, '$1 ***');
}

/** The hub did not give what was asked for, or the disk did not take it. The message says what to do; what was downloaded before stays. */
export class HubError extends Error {
  readonly code = 'SPFT_HUB';
  override readonly name = 'HubError';
  /** HTTP status, where the hub answered. */
  readonly status: number | undefined;

  constructor(message: string, options: { readonly status?: number; readonly cause?: unknown } = {}) {
    super(withoutSecrets(message), options.cause === undefined ? undefined : { cause: options.cause });
    this.status = options.status;
  }
}
