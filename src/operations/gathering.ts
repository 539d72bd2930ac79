import { destination, levels, symbols } from 'pino'
import type { DestinationStream } from 'pino'

/** Characters of lines that make a write: a pipe takes four times as much. */
const ENOUGH = 16_384

/** How long a line waits for others at most. */
const LONGEST_MS = 100

/**
 * Writes lines to a file descriptor, many at a time where they come fast: a write for each would be a tenth of what a
 * review costs. They are written beside the work, so that a reader who does not read holds up nobody. A warning does
 * not wait, nor what came before it, and at the exit everything is written; only SIGKILL takes the last tenth of a second of
 * what went well along.
 */
export function createGathering(fd: number): DestinationStream {
  const file = destination({ dest: fd, sync: false })
  let lines = ''
  let timer: NodeJS.Timeout | undefined
  const flush = (): void => {
    clearTimeout(timer)
    timer = undefined
    file.write(lines)
    lines = ''
  }
  // After pino's own handler, which writes what `file` still has. Nothing else can be written any more than at once.
  process.once('exit', () => {
    if (lines !== '') destination({ dest: fd, sync: true }).write(lines)
  })
  return Object.assign(
    {
      /** Of the line that comes; pino sets it. */
      lastLevel: 0,
      write(line: string): void {
        lines += line
        if (lines.length >= ENOUGH || this.lastLevel >= WARNING) flush()
        else timer ??= setTimeout(flush, LONGEST_MS).unref()
      },
    },
    { [symbols.needsMetadataGsym]: true },
  )
}

const WARNING = levels.values['warn'] ?? 0
