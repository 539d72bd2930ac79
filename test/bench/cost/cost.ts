import { startStatusNode } from '../../chaos/node.ts'
import type { Chart, Figure, Group, Measurements } from '../group.ts'
import { createCast } from '../observers/cast.ts'
import type { Counts } from '../observers/counting-proxy.ts'
import { prefectVersions } from '../observers/versions.ts'
import { startWorld } from '../observers/world.ts'
import { createAuditLog } from './audit.ts'
import { billOf } from './life.ts'
import type { Bill } from './life.ts'
import { total } from './settled.ts'

const SIZES = { healthy: 1_000, dying: 100 } as const

/** What observing costs those who are asked. */
export const cost: Group = {
  name: 'cost',
  title: 'What observing costs Prefect and the API server',
  run: async ({ progress }) => {
    await using audit = await createAuditLog()
    await using world = await startWorld({ apiserverFlags: audit.flags })
    const cast = createCast(world.controlPlane.api, world.prefect.api)
    await using stack = new AsyncDisposableStack()
    const node = await startStatusNode({ api: world.controlPlane.api, play: cast.play })
    stack.defer(node.stop)
    const scene = { world, cast, audit, progress }
    const ours = await billOf('ours', scene, SIZES)
    const peer = await billOf('peer', scene, SIZES)
    return measurements({ ours, peer }, await prefectVersions())
  },
}

interface Bills {
  readonly ours: Bill
  readonly peer: Bill
}

function measurements(bills: Bills, versions: Readonly<Record<string, string>>): Measurements {
  return {
    figures: [
      ...row(bills, {
        name: 'requestsPer1000Healthy',
        what: 'requests to Prefect, 1,000 runs arrive and run',
        of: ({ arrival }) => total(arrival.prefect),
        atMost: 30,
      }),
      ...row(bills, {
        name: 'requestsPer1000Completed',
        what: 'requests to Prefect, they complete',
        of: ({ completion }) => total(completion.prefect),
      }),
      ...row(bills, {
        name: 'requestsPer100Dying',
        what: 'requests to Prefect, 100 runs arrive and die',
        of: ({ deaths }) => total(deaths.prefect),
        atMost: 400,
      }),
      ...row(bills, {
        name: 'unansweredPer100Dying',
        what: 'of these deaths are not answered',
        of: ({ unanswered }) => unanswered,
        atMost: 0,
      }),
      ...row(bills, {
        name: 'eventsOverWebSocket',
        what: 'events sent to Prefect through a web socket, over all three',
        of: ({ arrival, completion, deaths }) => arrival.messages + completion.messages + deaths.messages,
      }),
      ...row(bills, {
        name: 'apiserverRequestsPer1000Healthy',
        what: 'requests to the API server, 1,000 runs arrive, run and complete',
        of: ({ arrival, completion }) => total(arrival.apiserver) + total(completion.apiserver),
      }),
      ...row(bills, {
        name: 'apiserverRequestsPer100Dying',
        what: 'requests to the API server, 100 runs arrive and die',
        of: ({ deaths }) => total(deaths.apiserver),
      }),
      ...row(bills, {
        name: 'connectionsAtRest',
        what: 'connections to the API server at rest',
        of: ({ connections }) => connections,
        atMost: 2,
      }),
    ],
    charts: [
      byEndpoint(bills, {
        name: 'healthy',
        title: 'Requests to Prefect for 1,000 runs that arrive, run and complete',
        of: ({ arrival, completion }) => [arrival.prefect, completion.prefect],
      }),
      byEndpoint(bills, {
        name: 'dying',
        title: 'Requests to Prefect for 100 runs that arrive and die',
        of: ({ deaths }) => [deaths.prefect],
      }),
      byEndpoint(bills, {
        name: 'dying-apiserver',
        title: 'Requests to the API server for 100 runs that arrive and die',
        of: ({ deaths }) => [deaths.apiserver],
      }),
    ],
    versions,
    method: METHOD,
    limit: LIMIT,
  }
}

interface Row {
  readonly name: string
  readonly what: string
  readonly of: (bill: Bill) => number
  readonly atMost?: number
}

/** Counts are what they are: one round. */
const row = ({ ours, peer }: Bills, { name, what, of, atMost }: Row): readonly Figure[] => [
  {
    name,
    what: `ours: ${what}`,
    unit: '',
    samples: [of(ours)],
    ...(atMost !== undefined && { reach: { atMost } }),
  },
  { name: `${name}Peer`, what: `the peer: ${what}`, unit: '', samples: [of(peer)] },
]

interface Picture {
  readonly name: string
  readonly title: string
  readonly of: (bill: Bill) => readonly Counts[]
}

function byEndpoint(bills: Bills, { name, title, of }: Picture): Chart {
  const sums = { ours: sumOf(of(bills.ours)), peer: sumOf(of(bills.peer)) }
  const endpoints = [...new Set([...sums.ours.keys(), ...sums.peer.keys()])]
  return {
    kind: 'bars',
    name,
    title,
    unit: 'requests',
    groups: endpoints.toSorted().map(endpoint => ({
      label: endpoint,
      bars: [
        { label: 'ours', samples: [sums.ours.get(endpoint) ?? 0] },
        { label: 'Prefect’s observer', samples: [sums.peer.get(endpoint) ?? 0] },
      ],
    })),
  }
}

function sumOf(all: readonly Counts[]): Counts {
  const sums = new Map<string, number>()
  for (const counts of all) for (const [what, count] of counts) sums.set(what, (sums.get(what) ?? 0) + count)
  return sums
}

const METHOD = `Real control plane, real Prefect server. 1,000 subflow runs are Pending in Prefect; their Jobs are made 100 at a time, the Job
controller makes the pods, the scheduler binds them, and their statuses are written as a kubelet would. Each flow reports Running, and
later Completed; then 100 more arrive, run, and are OOM-killed. One observer at a time, each at its defaults, ours with its admission.
A proxy before Prefect counts the requests of the observer alone; those to the API server are counted by its own audit log, by user agent
(no kubelet answers here, so a pod's log is asked for four times in vain; where one does, once).
A death counts as not answered when its observer has asked nothing for a minute. At the end nothing happens for some seconds, and
the observer's connections to the API server are counted by the kernel.`

const LIMIT = `Two requests of a death are its own: the proposal, and the look at the history afterwards (Prefect has no compare-and-set, and
tells the history of one run at a time). All others are shared: what is to be read, or searched for, while such a request is under way goes
with the next one, so that the longer the rate limit lets requests wait, the fewer they are. Runs that waited for longer than two seconds are
read again before they are moved, eight at a time. Logs and events go out twice a second. Of look-ups of admission 50 fit into a request: twenty
for a thousand Jobs, where the API server makes them fast enough. After a completed Job Prefect has to be asked once, thirty to forty
seconds later, and those of ten seconds are asked about together (ADR 10), twenty requests at the least; the peer does not ask, and does
not notice when a flow never reported. To the API server a death is an Event, two annotations and the log of the pod, and a share of two lists,
which prove that nothing of the runs is alive (ADR 14). A run that lives and ends well is nothing: what is counted there is the lease, renewed
every two seconds.
(Where a pod takes longer than half a minute to start, the Events of run and pod are asked for, every half minute: they alone tell of a volume
that cannot be mounted.) Five connections instead of two are the price of HTTP/1.1 (ADR 2).`
