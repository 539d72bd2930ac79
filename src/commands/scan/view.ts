import { diagnosisText } from '../../core/diagnosis/diagnosis.ts'
import { listed } from '../../core/evidence.ts'
import { newestJobOf } from '../../core/life.ts'
import type { Verdict } from '../../core/verdict.ts'
import type { Targets } from '../foundation.ts'
import type { Scan, ScannedRun } from './scan.ts'
import { isMove } from './scan.ts'
import { duration, tableOf } from '../table.ts'

const HEAD = ['FLOW RUN', 'STATE', 'FOR', 'JOB', 'DIAGNOSIS', 'VERDICT'] as const

/** A table of the runs, the diagnoses in full of those that something is wrong with, and a summary. */
export function scanInWords({ at, runs, inProcess, isComplete }: Scan): string {
  const rows = runs.map(scanned => rowOf(scanned, at))
  const texts = runs.flatMap(textOf)
  const toDo = runs.filter(({ decision }) => isMove(decision.verdict)).length
  const counts = [
    `${runs.length} live subflow ${runs.length === 1 ? 'run' : 'runs'}`,
    `${toDo} to be moved`,
    ...(inProcess > 0 ? [`${inProcess} more inside their parents' processes`] : []),
    ...(isComplete ? [] : ['there are more than were looked at']),
  ]
  return [
    ...(rows.length > 0 ? [`${tableOf([HEAD, ...rows])}\n`] : []),
    ...(texts.length > 0 ? [`${texts.join('\n')}\n\n`] : []),
    `${counts.join(', ')}\n`,
  ].join('')
}

/** The same for programs: one object, times in ISO 8601. */
export const scanAsJson = ({ at, runs, ...rest }: Scan, targets: Targets) => ({
  at: new Date(at).toISOString(),
  targets,
  ...rest,
  runs: runs.map(({ run, facts, decision, trouble }) => ({
    flowRunId: run.id,
    name: run.name,
    workPool: run.workPoolName,
    state: {
      type: run.state.type,
      name: run.state.name,
      since: new Date(run.state.timestamp).toISOString(),
    },
    job: jobOf({ run, facts }),
    isMove: isMove(decision.verdict),
    verdict: decision.verdict,
    trail: decision.trail,
    ...(trouble && { trouble: trouble.message }),
  })),
})

function rowOf({ run, facts, decision: { verdict }, trouble }: ScannedRun, at: number): readonly string[] {
  const diagnosis = 'diagnosis' in verdict ? verdict.diagnosis?.code : undefined
  return [
    run.id,
    run.state.name,
    duration(at - run.state.timestamp),
    jobInWords(jobOf({ run, facts })),
    diagnosis ?? '-',
    trouble ? `undecided: ${trouble.message}` : verdictInWords(verdict),
  ]
}

/** A Job of a run, `namespace/name`, and whether it is in this cluster. */
interface NamedJob {
  readonly name: string
  readonly is: 'here' | 'gone' | 'not here'
}

/** The newest Job of the run, or else the one that Prefect names. */
function jobOf({ run, facts }: Pick<ScannedRun, 'run' | 'facts'>): NamedJob | undefined {
  const newest = newestJobOf(listed(facts.jobs))
  if (!newest) return run.infrastructurePid === undefined ? undefined : notHere(run.infrastructurePid)
  const { namespace, name } = newest.job.metadata
  return { name: `${namespace}/${name}`, is: newest.gone ? 'gone' : 'here' }
}

/** @param infrastructurePid `<namespace>:<Job name>` */
const notHere = (infrastructurePid: string): NamedJob => ({
  name: infrastructurePid.replace(':', '/'),
  is: 'not here',
})

function jobInWords(job: NamedJob | undefined): string {
  if (!job) return '-'
  return job.is === 'here' ? job.name : `${job.name} (${job.is})`
}

function textOf({ run, decision: { verdict } }: ScannedRun): readonly string[] {
  if (!isMove(verdict) && verdict.kind !== 'report') return []
  return [`${run.id} ${run.name}: ${diagnosisText(verdict.diagnosis)}`]
}

// oxlint-disable-next-line complexity -- one exhaustive switch, a few words each
function verdictInWords(verdict: Verdict): string {
  switch (verdict.kind) {
    case 'ask':
      return `undecided: ${verdict.need} is missing`
    case 'nothing':
      return `leave it (${verdict.reason})`
    case 'requeue':
      return `wait ${duration(verdict.afterMs)} (${verdict.reason})`
    case 'report':
      return `tell only (${verdict.reason})`
    case 'newAttempt':
      return `new attempt ${verdict.attempt} of ${verdict.maxAttempts} (${verdict.reason})`
    case 'crash':
      return `${verdict.thenFail ? 'Failed' : 'Crashed'} (${verdict.reason})`
    case 'cancel':
      return `Cancelled (${verdict.reason})`
  }
}
