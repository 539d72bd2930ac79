// The program behind guard.ts: remembers what it is told, and clears it away when nobody is left to tell it more.
import { rm } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import type { GuardMessage, Leftover } from './guard.ts'
import { killGroup, killMarked } from './kill.ts'

const leftovers = new Map<number, Leftover>()

for await (const line of createInterface({ input: process.stdin })) {
  // The other end is guard.ts of the same version.
  const { id, leftover } = JSON.parse(line) as GuardMessage
  if (leftover) leftovers.set(id, leftover)
  else leftovers.delete(id)
}

// Processes first: a folder can only be removed when nobody writes into it any more.
for (const leftover of leftovers.values()) {
  if (leftover.kind === 'group') killGroup(leftover.pid, 'SIGKILL')
  if (leftover.kind === 'marked') await killMarked(leftover.marker)
}
for (const leftover of leftovers.values()) {
  if (leftover.kind === 'folder') await rm(leftover.path, { recursive: true, force: true, maxRetries: 5 })
}
