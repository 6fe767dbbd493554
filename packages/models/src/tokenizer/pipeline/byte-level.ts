/** @file GPT-2's letters for bytes: every byte has a visible character, so that a vocabulary is made of plain texts. */

/** Character of each byte. */
export const BYTES_TO_CHARACTERS: readonly string[] = (() => {
  const isVisible = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isVisible(byte) ? byte : next++));
})();

const CHARACTERS_TO_BYTES = new Map(BYTES_TO_CHARACTERS.map((c, byte) => [c, byte]));

/** The bytes that a token stands for: those of its letters, or its own UTF-8 where one is no letter of a byte. */
export function bytesOfToken(token: string): number[] {
  const bytes: number[] = [];
  for (const c of token) {
    const byte = CHARACTERS_TO_BYTES.get(c);
    if (byte === undefined) return Array.from(new TextEncoder().encode(token));
    bytes.push(byte);
  }
  return bytes;
}

/** Text of bytes; what is no UTF-8 becomes U+FFFD, and a byte order mark stays. */
export function lossyText(bytes: readonly number[]): string {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(bytes));
}
