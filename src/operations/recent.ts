/** The last things that were added, newest first, and no more than there is room for. */
export interface Recent<T> {
  readonly add: (item: T) => void
  readonly list: () => readonly T[]
}

export function createRecent<T>(capacity: number): Recent<T> {
  const items: T[] = []
  return {
    add: item => {
      items.unshift(item)
      items.length = Math.min(items.length, capacity)
    },
    list: () => items,
  }
}
