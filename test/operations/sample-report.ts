import type { StatusReport, ToldVerdict } from '../../src/operations/status-report.ts'

const NOON = Date.UTC(2026, 2, 4, 12)
const MINUTE = 60_000

/** One in which everything that the page knows occurs; the names are such as Prefect and Kubernetes make. */
export function sampleReport(changes: Partial<StatusReport> = {}): StatusReport {
  return {
    now: NOON,
    since: NOON - 26 * 60 * MINUTE,
    identity: 'prefect-lifeguard-6c9d8f7b5-x2x4m',
    isLeader: true,
    mode: 'Dead runs become Crashed, or get a new attempt where Prefect’s retries allow one.',
    parts: [
      { name: 'admission', ok: true, detail: 'as it should be' },
      { name: 'certificate', ok: true, detail: 'of our own authority' },
      { name: 'registration', ok: true, detail: 'the webhook configurations trust our authority' },
      { name: 'way to the webhook', ok: true, detail: 'as it should be' },
      { name: 'Prefect', ok: true, detail: 'it answers' },
      { name: 'observer', ok: true, detail: 'the oldest work waits for 0 s' },
      { name: 'watch of jobs', ok: true, detail: 'live, 214 objects' },
      { name: 'watch of pods', ok: false, detail: 'connection refused since 2026-03-04T11:58:12.000Z' },
      { name: 'leadership', ok: true, detail: 'this replica leads' },
    ],
    watched: {
      runs: 198,
      jobs: 214,
      pods: 201,
      shown: [
        ['9ca9b55a-b2eb-4349-b466-b6855da64970', 'wisteria-nuthatch-mgj4f', 'JobIsActive', 'Running', 3],
        ['0d2f7a14-7c1c-4a83-9d25-7e1b8cf0a2d9', 'sapphire-heron-x9wlc', 'JobIsActive', 'Pending', 11],
        ['5b8e63f0-33f5-4d0a-8f16-90c1be6a4471', 'umber-lynx-2t7kp', 'JobComplete', 'Succeeded', 190],
      ].map(([flowRunId, job, state, pods, minutes]) => ({
        flowRunId: String(flowRunId),
        job: `flows/${job}`,
        state: String(state),
        isAlive: state === 'JobIsActive',
        pods: String(pods),
        createdAt: NOON - Number(minutes) * MINUTE,
      })),
    },
    verdicts: [
      verdict(2, 'oom_killed', { name: 'wisteria-nuthatch', outcome: 'crashed' }),
      verdict(9, 'node_lost', { name: 'amber-ibex', outcome: 'new-attempt' }),
      verdict(31, 'oom_killed', { name: 'cobalt-tern', outcome: 'crashed' }),
      verdict(44, 'image_pull_backoff', { name: 'jade-marten', outcome: 'reported', isDeath: false }),
      verdict(180, 'job_deleted', { name: 'ochre-vole', outcome: 'crashed' }),
      verdict(395, 'oom_killed', { name: 'teal-dingo', outcome: 'new-attempt' }),
      verdict(1100, 'exited_without_reporting', { name: 'sepia-quail', outcome: 'crashed' }),
    ],
    ...changes,
  }
}

const TEXTS: Readonly<Record<string, string>> = {
  oom_killed:
    "Container 'prefect-job' was killed because memory ran out (its limit is 512Mi). Resolution: Raise `memory_limit` and `memory_request` in the deployment's job_variables or in the work pool's base job template, or make the flow hold less in memory.",
}

/** A verdict so many minutes ago. */
export const verdict = (minutes: number, code: string, changes: Partial<ToldVerdict> = {}): ToldVerdict => ({
  at: NOON - minutes * MINUTE,
  flowRunId: '9ca9b55a-b2eb-4349-b466-b6855da64970',
  name: 'wisteria-nuthatch',
  job: 'flows/wisteria-nuthatch-mgj4f',
  code,
  outcome: 'crashed',
  isDeath: true,
  text: `[${code}] ${TEXTS[code] ?? 'What happened. Resolution: what to change.'}`,
  trail: [
    'runIsAlive',
    'clusterIsUnknown',
    'flowRunIsFinal',
    'attemptHasNoJobYet',
    'runIsDead: crash JobFailed',
  ],
  ...changes,
})
