import type { PrefectApi } from '../cluster/prefect/api.ts'
import { waitFor } from '../cluster/prefect/api.ts'
import { forEach } from './cast.ts'
import type { Run } from './cast.ts'

const DIAGNOSIS = '[oom_killed]'

const AT_ONCE = 4

/**
 * What is wrong with runs that were killed for want of memory, one line each. The whole history counts: each run is
 * Crashed once, at its end, and says why, in its state and in its logs.
 */
export async function judge(runs: readonly Run[], prefect: PrefectApi): Promise<readonly string[]> {
  const complaints = await forEach(runs, AT_ONCE, async run => {
    const wrong = (await wrongStates(run, prefect)) ?? (await wrongLogs(run, prefect))
    return wrong === undefined ? [] : [`${run.name} ${run.flowRunId}: ${wrong}`]
  })
  return complaints.flat()
}

async function wrongStates({ flowRunId }: Run, prefect: PrefectApi): Promise<string | undefined> {
  const states = await prefect.readStates(flowRunId)
  const history = states.map(({ name }) => name).join(' -> ')
  if (history !== 'Scheduled -> Pending -> Running -> Crashed') return history
  const message = states.at(-1)?.message ?? ''
  return message.startsWith(DIAGNOSIS) ? undefined : `its state says: ${message}`
}

async function wrongLogs({ flowRunId }: Run, prefect: PrefectApi): Promise<string | undefined> {
  // They go out in batches, after the states.
  const isTold = async (): Promise<true | undefined> =>
    (await prefect.readLogs(flowRunId)).some(({ message }) => message.startsWith(DIAGNOSIS))
      ? true
      : undefined
  try {
    await waitFor(`${DIAGNOSIS} in its logs`, isTold, { timeoutMs: 60_000 })
    return undefined
  } catch (error) {
    return String(error)
  }
}
