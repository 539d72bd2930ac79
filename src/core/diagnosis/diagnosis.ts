import type { ContainerTermination, Instant, Job, KubernetesEvent, Node, Pod } from '../objects.ts'
import type { DiagnosisCode, DiagnosisLevel } from './codes.ts'
import { CATALOGUE } from './codes.ts'
import { signalOf } from './signals.ts'

/** Why a run died, or why it cannot start. */
export interface Diagnosis {
  readonly code: DiagnosisCode
  /** Prefect's own word for it, where Prefect has one, such as `OOMKilled` or `Unschedulable.Taint`. */
  readonly category?: string
  readonly level: DiagnosisLevel
  /** What lies behind it, where `code` names only the way it ended: a policy, a deadline, a deletion, a crash loop. */
  readonly cause?: DiagnosisCode
  readonly pod?: string
  readonly node?: string
  readonly container?: string
  readonly exitCode?: number
  /** The signal's name, such as `SIGKILL`. */
  readonly signal?: string
  /** One sentence. */
  readonly summary: string
  /** The platform's own words on one line, at most 500 characters. */
  readonly detail?: string
  /** What to change, and where. */
  readonly resolution: string
}

/** What a diagnosis is made from: the newest Job of a run and what is known around it. */
export interface DiagnosisEvidence {
  /** The Job in question, as last seen; absent where none was ever seen. */
  readonly job?: Job
  /** Pods as last seen, gone or not. Those of other Jobs are left out by the rules. */
  readonly pods: readonly Pod[]
  readonly events: readonly KubernetesEvent[]
  /** Nodes of pods that are overdue in their termination: one that is missing here is gone. */
  readonly nodes?: readonly Node[]
  /** What exists no longer: whether the Job does, and the UIDs of pods. */
  readonly gone?: { readonly job: boolean; readonly pods: readonly string[] }
}

/** A diagnosis and the name of the rule that made it. */
export interface Finding {
  readonly rule: string
  readonly diagnosis: Diagnosis
}

/** What keeps one pod, or a Job without pods, from starting. */
export interface HoldUp extends Finding {
  /** Since when, by Kubernetes' clock; rather too late than too early where no object tells. */
  readonly since: Instant
}

/** A Job that is alive and cannot start: what has held it up for longest. */
export interface StuckStart extends HoldUp {
  /**
   * All that holds it up, where that is all there is. Empty while Kubernetes has another way on: a pod that still
   * runs or may yet start, or tries that it counts itself. Then the start is told of and never acted upon.
   */
  readonly all: readonly HoldUp[]
}

/** Whom a diagnosis is about. */
export interface Subject {
  readonly namespace?: string
  readonly job?: string
  readonly pod?: string
  readonly node?: string
  readonly container?: string
}

/** What a rule says; `category` and `resolution` replace those of the code's catalogue entry. */
export interface Statement {
  readonly summary: string
  readonly detail?: string | undefined
  readonly end?: ContainerTermination
  readonly cause?: DiagnosisCode
  /** The cause in full: with it come its container and how that ended. */
  readonly because?: Diagnosis
  readonly category?: string
  readonly resolution?: string
}

/** Long enough for a scheduler's or registry's message, short enough for a state message and an annotation. */
const DETAIL_LIMIT = 500

/** Makes a diagnosis: the code's catalogue entry, whom it is about, and what the rule states. */
export function createDiagnosis(code: DiagnosisCode, subject: Subject, statement: Statement): Diagnosis {
  const { isStuckStart: _, ...entry } = CATALOGUE[code]
  const { end, detail, because, ...words } = statement
  return {
    code,
    ...entry,
    ...words,
    ...whereOf(subject),
    ...(because && inheritedFrom(because)),
    ...(end && endOf(end)),
    ...detailOf(detail),
    resolution: fillIn(words.resolution ?? entry.resolution, subject),
  }
}

/** What happened, in whole sentences: the platform's own words often lack the full stop. */
export function wordsOf({ summary, detail }: Diagnosis): string {
  if (detail === undefined) return summary
  return `${summary} ${detail}${/[.!?…]$/u.test(detail) ? '' : '.'}`
}

/** One line, the same in the log, in Prefect's state message and logs, and in Kubernetes' Events. */
export const diagnosisText = (diagnosis: Diagnosis): string =>
  `[${diagnosis.code}] ${wordsOf(diagnosis)} Resolution: ${diagnosis.resolution}`

function whereOf({ pod, node, container }: Subject): Pick<Diagnosis, 'pod' | 'node' | 'container'> {
  return {
    ...(pod !== undefined && { pod }),
    ...(node !== undefined && { node }),
    ...(container !== undefined && { container }),
  }
}

function inheritedFrom({ code, container, exitCode, signal }: Diagnosis): Partial<Diagnosis> {
  return {
    cause: code,
    ...(container !== undefined && { container }),
    ...(exitCode !== undefined && { exitCode }),
    ...(signal !== undefined && { signal }),
  }
}

function endOf(end: ContainerTermination): Pick<Diagnosis, 'exitCode' | 'signal'> {
  const signal = signalOf(end)
  return { exitCode: end.exitCode, ...(signal !== undefined && { signal }) }
}

/** Line breaks and control characters go: the text ends up in log lines, which nobody shall be able to forge. */
function detailOf(text = ''): Pick<Diagnosis, 'detail'> {
  const line = text.replaceAll(/[\s\p{Cc}]+/gu, ' ').trim()
  if (line === '') return {}
  return { detail: line.length > DETAIL_LIMIT ? `${line.slice(0, DETAIL_LIMIT - 1)}…` : line }
}

const fillIn = (text: string, { namespace, job, pod, node, container }: Subject): string =>
  Object.entries({ namespace, job, pod, node, container }).reduce(
    (filled, [name, value]) => (value === undefined ? filled : filled.replaceAll(`<${name}>`, () => value)),
    text,
  )
