import { parseArgs } from 'node:util'

/** What every contestant is told, in whichever language. */
export interface Flags {
  readonly port: number
  /** Folder with `tls.crt` and `tls.key`. */
  readonly certificates: string
  /** Of the Prefect API; ends in `/api`. */
  readonly prefect: string
}

/** Reads `-port`, `-certificates` and `-prefect`; Go takes one dash or two, Node two. */
export function flagsOf(argv: readonly string[]): Flags {
  const { values } = parseArgs({
    args: argv.slice(2),
    options: { port: { type: 'string' }, certificates: { type: 'string' }, prefect: { type: 'string' } },
  })
  const { port = '0', certificates = '', prefect = '' } = values
  return { port: Number(port), certificates, prefect }
}
