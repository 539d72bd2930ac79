import { readFile, writeFile } from 'node:fs/promises'
import { z } from 'zod'
import { decide } from '../core/decide.ts'
import { diagnosisText } from '../core/diagnosis/diagnosis.ts'
import type { Facts } from '../core/facts.ts'
import { isUuid } from '../core/names.ts'
import type { VerdictSettings } from '../core/settings.ts'
import type { Decision, Verdict } from '../core/verdict.ts'
import { gather } from '../observer/gather.ts'
import { readsOf } from './connections.ts'
import type { Foundation } from './foundation.ts'

/** A case as it was decided: the same facts under the same settings give the same verdict, here or anywhere. */
export interface Recording {
  readonly facts: Facts
  readonly settings: VerdictSettings
}

/** An argument that cannot be what it should be; the message is for the person who typed it. */
export class ArgumentError extends Error {
  override readonly name = 'ArgumentError'
}

/** Reads everything about a run, live, and changes nothing. */
export async function examine(
  foundation: Foundation,
  flowRunId: string,
  signal: AbortSignal,
): Promise<Recording> {
  if (!isUuid(flowRunId)) throw new ArgumentError('a flow run id has to be a UUID, in lower case')
  const { kubernetes, config } = foundation
  const [jobs, pods] = await Promise.all([
    kubernetes.jobsOf(flowRunId, signal),
    kubernetes.podsOf(flowRunId, signal),
  ])
  const seen = { jobs: jobs.map(job => ({ job })), pods: pods.map(pod => ({ pod })) }
  const reads = { ...readsOf(foundation), now: foundation.access.serverNow, seen: () => seen }
  const { facts } = await gather(flowRunId, { reads, settings: config.verdict, signal })
  return { facts, settings: config.verdict }
}

/** Only the outline is checked here; whether it makes sense the rules themselves tell. */
const recordingSchema = z.object({
  facts: z.looseObject({
    flowRunId: z.string(),
    now: z.number(),
    isLive: z.boolean(),
    jobs: z.looseObject({ known: z.boolean() }),
    pods: z.looseObject({ known: z.boolean() }),
  }),
  settings: z.looseObject({ failureState: z.string(), graces: z.looseObject({}) }),
})

/** Reads a recorded case. @throws ArgumentError where the file is none, or none that can be decided. */
export async function readRecording(path: string): Promise<Recording> {
  try {
    const text = await readFile(path, 'utf8')
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by `writeRecording`; the outline was looked at
    const recording = recordingSchema.parse(JSON.parse(text)) as unknown as Recording
    decisionOn(recording)
    return recording
  } catch (cause) {
    throw new ArgumentError(`${path} is no recorded case: ${inWords(cause)}`, { cause })
  }
}

const inWords = (cause: unknown): string =>
  cause instanceof z.ZodError ? z.prettifyError(cause) : String(cause)

export async function writeRecording(path: string, recording: Recording): Promise<void> {
  await writeFile(path, `${JSON.stringify(recording, undefined, 2)}\n`)
}

/** The verdict on a case with its trail, for programs. */
export const decisionOn = ({ facts, settings }: Recording): Decision => decide(facts, settings)

/** The same for people: the facts, the rules in order with the one that decided, and what would be done. */
export function explanationOf({ facts, settings }: Recording): string {
  const { verdict, trail } = decide(facts, settings)
  const rules = trail.rules.map(({ rule, answer }) =>
    answer === undefined ? `    ${rule}` : `  > ${rule}: ${answer}`,
  )
  return [
    `Flow run ${facts.flowRunId} at ${new Date(facts.now).toISOString()}`,
    '',
    'Facts',
    ...trail.facts.map(fact => `    ${fact}`),
    '',
    'Rules, in order; the last one decided',
    ...rules,
    '',
    'Verdict',
    `    ${sentenceOn(verdict)}`,
    ...('diagnosis' in verdict && verdict.diagnosis
      ? [`    ${diagnosisText(verdict.diagnosis)}`, `    (diagnosed by the rule ${trail.diagnosis})`]
      : []),
    '',
  ].join('\n')
}

const seconds = (ms: number): string => `${Math.ceil(ms / 1000)} s`

// oxlint-disable-next-line complexity -- one exhaustive switch, a sentence each
function sentenceOn(verdict: Verdict): string {
  switch (verdict.kind) {
    case 'ask':
      return `Undecided: ${verdict.need} would have to be read first.`
    case 'nothing':
      return `Nothing is done (${verdict.reason}).`
    case 'requeue':
      return `Nothing is done yet (${verdict.reason}); looked at again in ${seconds(verdict.afterMs)}.`
    case 'report':
      return `Reported only (${verdict.reason}); set to act, it would be: ${verdict.would}.`
    case 'newAttempt':
      return `A new attempt in ${seconds(verdict.delayMs)}, ${verdict.attempt} of at most ${verdict.maxAttempts} (${verdict.reason}).`
    case 'crash':
      return `Crashed${verdict.thenFail ? ', then Failed' : ''} (${verdict.reason}).`
    case 'cancel':
      return `Cancelled (${verdict.reason}).`
  }
}
