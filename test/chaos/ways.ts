import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ControlPlane } from '../cluster/control-plane.ts'
import type { Prefect } from '../cluster/prefect.ts'
import { createGateway, createSecureGateway } from './gateway.ts'
import type { AnswerFault, Gateway } from './gateway.ts'
import { createLink } from './link.ts'
import type { Link } from './link.ts'
import { createChance } from './random.ts'
import type { ConnectionFault } from './schedule.ts'

/** A replica's way to one server: a link, and behind it somebody who understands requests. */
export interface Way {
  readonly port: number
  /** Begins a fault in place of the one that lasts; resolves with what ends it, unless another has begun meanwhile. */
  readonly begin: (what: ConnectionFault['what']) => Promise<() => Promise<void>>
  readonly close: () => Promise<void>
}

export async function createWayToApiserver({ server, ca, folder }: ControlPlane, seed: number): Promise<Way> {
  const [cert, key] = await Promise.all(
    ['apiserver.crt', 'apiserver.key'].map(name => readFile(join(folder, name), 'utf8')),
  )
  if (cert === undefined || key === undefined) throw new Error('the apiserver has no certificate')
  return createWay(
    await createSecureGateway({ target: server, ca, cert, key, chance: createChance(seed, 11) }),
  )
}

export const createWayToPrefect = async ({ apiUrl }: Prefect, seed: number): Promise<Way> =>
  createWay(await createGateway({ target: new URL(apiUrl).origin, chance: createChance(seed, 12) }))

async function createWay(gateway: Gateway): Promise<Way> {
  const link = await createLink(gateway.port)
  let current = 0
  const heal = async (): Promise<void> => {
    current += 1
    gateway.fault = undefined
    await link.heal()
  }
  return {
    port: link.port,
    begin: async what => {
      await heal()
      const mine = current
      await start({ link, gateway }, what)
      return async () => {
        if (current === mine) await heal()
      }
    },
    close: async () => {
      await link.close()
      gateway.close()
    },
  }
}

async function start(
  { link, gateway }: { link: Link; gateway: Gateway },
  what: ConnectionFault['what'],
): Promise<void> {
  if (what.kind === 'reset') link.reset()
  else if (isAnswerFault(what)) gateway.fault = what
  else await link.begin(what)
}

const isAnswerFault = (what: ConnectionFault['what']): what is AnswerFault =>
  what.kind === 'errors' || what.kind === 'lostAnswers'

/** The administrator's kubeconfig with another port: certificates speak of addresses, not of ports. */
export async function kubeconfigBy(
  { kubeconfig, server }: ControlPlane,
  port: number,
  path: string,
): Promise<string> {
  const text = await readFile(kubeconfig, 'utf8')
  await writeFile(path, text.replaceAll(server, `https://127.0.0.1:${port}`), { mode: 0o600 })
  return path
}
