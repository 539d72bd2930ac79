import { readFile } from 'node:fs/promises'
import { cpus, loadavg, release, totalmem, type } from 'node:os'
import { kubernetesVersion } from '../cluster/build.ts'

const GO_MOD = new URL('../cluster/control-plane/go.mod', import.meta.url)

const GIB = 1024 ** 3

/** Where and when something was measured, for whoever compares. */
export interface Circumstances {
  /** ISO 8601, to the second. */
  readonly date: string
  readonly machine: string
  /** Processes that ran or wanted to, over the minute before it began: 0 is an idle machine. */
  readonly loadBefore: number
  readonly versions: Readonly<Record<string, string>>
}

/** To be asked before the measurement: afterwards the load is its own. */
export const circumstances = async (): Promise<Circumstances> => ({
  date: `${new Date().toISOString().slice(0, 19)}Z`,
  machine: machine(),
  loadBefore: Number((loadavg()[0] ?? 0).toFixed(2)),
  versions: {
    Node: process.versions.node,
    Kubernetes: kubernetesVersion(await readFile(GO_MOD, 'utf8')).slice(1),
  },
})

function machine(): string {
  const cores = cpus()
  const model = cores[0]?.model.trim() ?? 'unknown processor'
  return `${cores.length} × ${model}, ${Math.round(totalmem() / GIB)} GiB, ${type()} ${release()}`
}
