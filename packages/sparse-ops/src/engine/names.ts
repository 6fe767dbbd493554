/** @file Names of a kernel's inputs of which there are many, the same in each step: to make a text is slow, and slower to look something up by a new one. */

const named = new Map<string, string[]>();

/** `p0`, `p1`, … for the role `p`: at least `count` of them. */
export function namesOf(role: string, count: number): readonly string[] {
  let names = named.get(role);
  if (!names) {
    names = [];
    named.set(role, names);
  }
  while (names.length < count) names.push(`${role}${names.length}`);
  return names;
}
