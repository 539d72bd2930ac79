import type { Logger } from 'pino'
import { v5 as uuid5 } from 'uuid'
import { listed } from '../core/evidence.ts'
import type { FlowRun } from '../core/flow-run.ts'
import type { Instant } from '../core/objects.ts'
import type { JobReference } from '../core/verdict.ts'
import { DEAD_PODS, DIAGNOSIS, TRAIL, VERDICT } from './annotations.ts'
import { lastWords } from './last-words.ts'
import type { LogTail } from './last-words.ts'
import type { Outbox, RunEvent } from './outbox.ts'
import { rememberPods } from './pod-memory.ts'
import type { Outcome, Story } from './story.ts'
import { sentenceOf, signatureOf, verdictOn } from './story.ts'

/** A Kubernetes Event on a Job. */
export interface JobEvent {
  readonly regarding: { readonly apiVersion: 'batch/v1'; readonly kind: 'Job' } & JobReference
  readonly type: 'Normal' | 'Warning'
  readonly reason: string
  readonly action: string
  readonly note: string
}

export interface Tells {
  readonly now: () => Instant
  readonly logger: Logger
  readonly outbox: Outbox
  readonly recordEvent: (event: JobEvent, signal: AbortSignal) => Promise<unknown>
  readonly annotateJob: (
    job: JobReference,
    annotations: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ) => Promise<unknown>
  readonly podLogTail: LogTail
  /** Remembers what was told where there is no Job to write it on. */
  readonly told: { readonly has: (signature: string) => boolean; readonly add: (signature: string) => void }
  readonly onTold: (story: Story) => void
}

/**
 * Tells a verdict everywhere, with the same words: our log, the run's logs in Prefect, an event in Prefect, a
 * Kubernetes Event and annotations on the Job. (The state message was written with the state.) Each once: the Job's
 * annotation says what was told. What fails is logged; a verdict does not fail for want of an audience.
 */
export async function tell(story: Story, tells: Tells, signal: AbortSignal): Promise<void> {
  const signature = signatureOf(story)
  if (isTold(story, signature, tells)) return
  tells.told.add(key(story, signature))
  logVerdict(story, tells)
  tells.onTold(story)
  await Promise.all([tellPrefect(story, tells, signal), tellKubernetes(story, signature, { tells, signal })])
}

const REASONS: Readonly<Record<Outcome, { reason: string; action: string }>> = {
  crashed: { reason: 'FlowRunCrashed', action: 'SetState' },
  failed: { reason: 'FlowRunFailed', action: 'SetState' },
  'new-attempt': { reason: 'FlowRunRescheduled', action: 'SetState' },
  cancelled: { reason: 'FlowRunCancelled', action: 'SetState' },
  reported: { reason: 'FlowRunDiagnosed', action: 'Report' },
  explained: { reason: 'FlowRunDiagnosed', action: 'Explain' },
}

const key = ({ facts }: Story, signature: string): string => `${facts.flowRunId} ${signature}`

const isTold = (story: Story, signature: string, { told }: Tells): boolean =>
  told.has(key(story, signature)) || verdictOn(story.facts, story.verdict.job) === signature

/** The text comes first and the fields behind it: `kubectl logs ... | grep "\[oom_killed\]"` finds it. */
function logVerdict(story: Story, { logger }: Tells): void {
  const { facts, verdict, outcome, trail } = story
  const fields = {
    flowRunId: facts.flowRunId,
    verdict: verdict.kind,
    reason: verdict.reason,
    outcome,
    code: verdict.diagnosis.code,
    ...(verdict.job && { namespace: verdict.job.namespace, job: verdict.job.name }),
  }
  logger.warn(fields, sentenceOf(story.verdict))
  logger.debug({ ...fields, trail }, 'trail of the verdict')
}

async function tellPrefect(story: Story, tells: Tells, signal: AbortSignal): Promise<void> {
  const { facts, verdict, run } = story
  if (!run) return
  const timestamp = tells.now()
  const line = (message: string, level: number) => {
    tells.outbox.log({ flowRunId: facts.flowRunId, level, message, timestamp })
  }
  line(sentenceOf(story.verdict), verdict.diagnosis.level === 'error' ? 40 : 30)
  for (const words of await lastWords(story, tells, signal)) line(words, 20)
  tells.outbox.event(eventOf(story, run, timestamp))
}

function eventOf(story: Story, run: FlowRun, occurred: Instant): RunEvent {
  const { facts, verdict, outcome } = story
  const { diagnosis, reason, job } = verdict
  return {
    id: uuid5(signatureOf(story), facts.flowRunId),
    occurred,
    event: `prefect-lifeguard.flow-run.${outcome}`,
    resource: {
      'prefect.resource.id': `prefect.flow-run.${run.id}`,
      'prefect.resource.name': run.name,
      'prefect-lifeguard.diagnosis': diagnosis.code,
      'prefect-lifeguard.reason': reason,
    },
    related: relatedTo(run),
    payload: { diagnosis, reason, ...(job && { job }) },
  }
}

/** What an automation may filter by: the flow, the deployment, the work pool, under the ids of Prefect's own events. */
const relatedTo = ({ flowId, deploymentId, workPoolId, workPoolName }: FlowRun): RunEvent['related'] => [
  ...related('flow', flowId),
  ...related('deployment', deploymentId),
  ...related('work-pool', workPoolId, workPoolName),
]

const related = (role: string, id: string | undefined, name?: string): RunEvent['related'] =>
  id === undefined
    ? []
    : [
        {
          'prefect.resource.id': `prefect.${role}.${id}`,
          'prefect.resource.role': role,
          ...(name !== undefined && { 'prefect.resource.name': name }),
        },
      ]

async function tellKubernetes(
  story: Story,
  signature: string,
  { tells, signal }: { tells: Tells; signal: AbortSignal },
): Promise<void> {
  const { job } = story.verdict
  if (!job) return
  const { reason, action } = REASONS[story.outcome]
  const event: JobEvent = {
    regarding: { apiVersion: 'batch/v1', kind: 'Job', ...job },
    type: 'Warning',
    reason,
    action,
    note: sentenceOf(story.verdict),
  }
  await Promise.all([
    quietly(tells, 'recording an Event on the Job', tells.recordEvent(event, signal)),
    quietly(tells, 'annotating the Job', tells.annotateJob(job, annotationsOf(story, signature), signal)),
  ])
}

/** The whole set of our annotations, each bounded. */
function annotationsOf(story: Story, signature: string): Readonly<Record<string, string>> {
  const { facts, verdict, trail } = story
  const fact = listed(facts.jobs).find(({ job }) => job.metadata.uid === verdict.job?.uid)
  const deadPods = fact && rememberPods(fact, listed(facts.pods))
  return {
    [DIAGNOSIS]: sentenceOf(story.verdict),
    [VERDICT]: signature,
    [TRAIL]: trail.rules.map(({ rule, answer }) => (answer ? `${rule}: ${answer}` : rule)).join(' > '),
    ...(deadPods !== undefined && { [DEAD_PODS]: deadPods }),
  }
}

/** A Job that is gone has nothing to write on; anything else is worth a line. */
async function quietly({ logger }: Tells, what: string, work: Promise<unknown>): Promise<void> {
  try {
    await work
  } catch (err) {
    logger.warn({ err, what }, 'could not tell a verdict')
  }
}
