import type { Fixed } from './fix.ts'
import { fix } from './fix.ts'
import { ArgumentError } from '../explain.ts'
import type { Foundation } from '../foundation.ts'
import { targetsInWords } from '../foundation.ts'
import { EXIT_CODES } from '../once.ts'
import type { Scan, ScannedRun } from './scan.ts'
import { isMove, scan } from './scan.ts'
import { scanAsJson, scanInWords } from './view.ts'
import { tableOf } from '../table.ts'

export interface ScanOptions {
  readonly fix?: boolean
  readonly yes?: boolean
  readonly json?: boolean
}

/** How the command speaks with whoever called it. */
export interface Conversation {
  readonly print: (text: string) => void
  /** Undefined where nobody can answer. */
  readonly isAgreed: ((question: string) => Promise<boolean>) | undefined
}

/** Looks, shows, and, where asked to, carries out. @returns the exit code. */
export async function scanAndFix(
  foundation: Foundation,
  { options, conversation }: Request,
  signal: AbortSignal,
): Promise<number> {
  refuseUnlessAnswerable(options, conversation)
  const found = await scan(foundation, signal)
  const toDo = found.runs.filter(({ decision }) => isMove(decision.verdict))
  const { print } = conversation
  if (!options.json) print(targetsInWords(foundation.targets) + scanInWords(found))
  const isWanted = toDo.length > 0 && (await isConfirmed(toDo, { options, conversation }))
  const fixed = isWanted ? await fix(foundation, toDo, signal) : undefined
  if (options.json) print(jsonOf({ ...scanAsJson(found, foundation.targets), ...(fixed && { fixed }) }))
  else if (fixed) print(`\n${fixedInWords(fixed)}`)
  return fixed ? codeOfFixed(fixed) : codeOf(found)
}

interface Request {
  readonly options: ScanOptions
  readonly conversation: Conversation
}

const jsonOf = (value: unknown): string => `${JSON.stringify(value, undefined, 2)}\n`

function refuseUnlessAnswerable(options: ScanOptions, { isAgreed }: Conversation): void {
  if (options.yes && !options.fix) throw new ArgumentError('--yes is an answer to --fix')
  if (!options.fix || options.yes) return
  if (options.json || !isAgreed)
    throw new ArgumentError('--fix asks first, and nobody is here to answer: add --yes')
}

async function isConfirmed(
  toDo: readonly ScannedRun[],
  { options, conversation }: Request,
): Promise<boolean> {
  if (!options.fix) return false
  return options.yes === true || (await conversation.isAgreed?.(`\nMove ${toDo.length} of them?`)) === true
}

function codeOf({ runs }: Scan): number {
  if (runs.some(({ decision }) => isMove(decision.verdict))) return EXIT_CODES.found
  return runs.some(({ trouble }) => trouble) ? EXIT_CODES.unknown : EXIT_CODES.well
}

const codeOfFixed = (fixed: readonly Fixed[]): number =>
  fixed.some(({ outcome }) => outcome === 'failed') ? EXIT_CODES.unknown : EXIT_CODES.well

const fixedInWords = (fixed: readonly Fixed[]): string =>
  tableOf([
    ['FLOW RUN', 'OUTCOME', 'STATE', 'WHY'],
    ...fixed.map(({ flowRunId, outcome, state, why }) => [flowRunId, outcome, state ?? '-', why ?? '']),
  ])
