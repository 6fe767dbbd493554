/**
 * @file Combining marks as the Rust library strips them: those of the Unicode tables that it is built with (9.0), not those that came later. Found by
 * asking it for every character.
 */
const LATER =
  '\\u{7fd}\\u{898}-\\u{89f}\\u{8ca}-\\u{8d3}\\u{9fe}\\u{afa}-\\u{aff}\\u{b55}\\u{c04}\\u{c3c}\\u{d00}\\u{d3b}-\\u{d3c}\\u{d81}' +
  '\\u{eba}\\u{1715}\\u{180f}\\u{1abf}-\\u{1ace}\\u{1cf7}\\u{1df6}-\\u{1dfa}\\u{a82c}\\u{a8ff}\\u{10d24}-\\u{10d27}' +
  '\\u{10eab}-\\u{10eac}\\u{10f46}-\\u{10f50}\\u{10f82}-\\u{10f85}\\u{11070}\\u{11073}-\\u{11074}\\u{110c2}' +
  '\\u{11145}-\\u{11146}\\u{111c9}\\u{111ce}-\\u{111cf}\\u{1133b}\\u{1145e}\\u{1182c}-\\u{1183a}\\u{11930}-\\u{11935}' +
  '\\u{11937}-\\u{11938}\\u{1193b}-\\u{1193e}\\u{11940}\\u{11942}-\\u{11943}\\u{119d1}-\\u{119d7}\\u{119da}-\\u{119e0}' +
  '\\u{119e4}\\u{11a01}-\\u{11a0a}\\u{11a33}-\\u{11a39}\\u{11a3b}-\\u{11a3e}\\u{11a47}\\u{11a51}-\\u{11a5b}' +
  '\\u{11a8a}-\\u{11a99}\\u{11d31}-\\u{11d36}\\u{11d3a}\\u{11d3c}-\\u{11d3d}\\u{11d3f}-\\u{11d45}\\u{11d47}' +
  '\\u{11d8a}-\\u{11d8e}\\u{11d90}-\\u{11d91}\\u{11d93}-\\u{11d97}\\u{11ef3}-\\u{11ef6}\\u{16f4f}\\u{16f7f}-\\u{16f87}' +
  '\\u{16fe4}\\u{16ff0}-\\u{16ff1}\\u{1cf00}-\\u{1cf2d}\\u{1cf30}-\\u{1cf46}\\u{1e130}-\\u{1e136}\\u{1e2ae}' +
  '\\u{1e2ec}-\\u{1e2ef}';

const STRIPPED = new RegExp(`(?![${LATER}])\\p{M}|[\\u1cf2\\u1cf3]`, 'gu');

/** The text without combining marks. */
export const withoutMarks = (text: string): string => text.replace(STRIPPED, '');
