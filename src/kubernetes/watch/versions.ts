/**
 * The order of two resource versions of one resource: negative when `a` is older. They are decimal numbers without
 * leading zeroes, which clients may compare (KEP-5504; true of every server that keeps its objects in etcd before).
 */
export function compareVersions(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length
  if (a === b) return 0
  return a < b ? -1 : 1
}
