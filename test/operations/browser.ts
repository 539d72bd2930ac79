import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import { z } from 'zod'
import { createGuard } from '../cluster/guard.ts'
import { killGroup } from '../cluster/kill.ts'

/** Debian: `apt-get install chromium-headless-shell`. Any other Chromium of the last years does as well. */
const NAMES = ['chromium-headless-shell', 'chromium', 'chromium-browser', 'google-chrome'] as const

/** Where a browser is; undefined where there is none. `CHROMIUM` names one that is elsewhere. */
export function findBrowser(env: NodeJS.ProcessEnv = process.env): string | undefined {
  const folders = (env['PATH'] ?? '').split(delimiter)
  const candidates = [
    env['CHROMIUM'] ?? '',
    ...NAMES.flatMap(name => folders.map(folder => join(folder, name))),
  ]
  return candidates.find(path => path !== '' && existsSync(path))
}

/** How a page is looked at. */
export interface View {
  readonly width: number
  readonly height: number
  readonly scheme: 'light' | 'dark'
  readonly isPhone?: boolean
}

export interface Look {
  /** What the browser complained about, and what it asked for beside the page. */
  readonly complaints: readonly string[]
  readonly requests: readonly string[]
  /** The value of a JavaScript expression, as JSON. */
  readonly evaluate: (expression: string) => Promise<unknown>
  /** PNG of the whole page. */
  readonly screenshot: () => Promise<Buffer>
}

export interface Browser extends AsyncDisposable {
  readonly open: (url: string, view: View) => Promise<Look>
}

const START_MS = 60_000

const messageSchema = z.object({
  id: z.number().optional(),
  sessionId: z.string().optional(),
  method: z.string().optional(),
  params: z.record(z.string(), z.unknown()).optional(),
  result: z.record(z.string(), z.unknown()).optional(),
  error: z.object({ message: z.string() }).optional(),
})
type Message = z.infer<typeof messageSchema>

/** Starts a browser without a window, spoken to by the Chrome DevTools Protocol. It ends with this process. */
export async function startBrowser(path: string): Promise<Browser> {
  const guard = await createGuard()
  const profile = await mkdtempDisposable(join(tmpdir(), 'chromium-'))
  const args = [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--hide-scrollbars',
    '--disable-dev-shm-usage',
    '--remote-debugging-port=0',
  ]
  const child = spawn(path, [...args, `--user-data-dir=${profile.path}`, 'about:blank'], {
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  await once(child, 'spawn')
  const pid = child.pid ?? 0
  guard.afterDeath({ kind: 'group', pid })
  const exited = once(child, 'exit')
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) killGroup(pid, 'SIGKILL')
    await exited
    await guard.close()
    await profile.remove()
  }
  try {
    const wire = await connect(await addressIn(child.stderr))
    return { open: (url, view) => open(wire, { url, view }), [Symbol.asyncDispose]: stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function addressIn(stderr: NodeJS.ReadableStream): Promise<string> {
  const lines = createInterface({ input: stderr, signal: AbortSignal.timeout(START_MS) } as never)
  for await (const line of lines) {
    const [, address] = /DevTools listening on (ws:\S+)/.exec(line) ?? []
    if (address !== undefined) return address
  }
  throw new Error('the browser ended without saying where it listens')
}

interface Wire {
  readonly send: (method: string, params?: object, sessionId?: string) => Promise<Record<string, unknown>>
  readonly listen: (listener: (message: Message) => void) => void
}

async function connect(address: string): Promise<Wire> {
  const socket = new WebSocket(address)
  const waiting = new Map<number, PromiseWithResolvers<Record<string, unknown>>>()
  const listeners: ((message: Message) => void)[] = []
  await once(socket, 'open')
  socket.addEventListener('message', ({ data }) => {
    const message = messageSchema.parse(JSON.parse(String(data)))
    for (const listener of listeners) listener(message)
    const answer = waiting.get(message.id ?? -1)
    if (message.error) answer?.reject(new Error(message.error.message))
    else answer?.resolve(message.result ?? {})
  })
  let last = 0
  return {
    send: (method, params = {}, sessionId) => {
      const id = ++last
      const answer = Promise.withResolvers<Record<string, unknown>>()
      waiting.set(id, answer)
      socket.send(JSON.stringify({ id, method, params, ...(sessionId !== undefined && { sessionId }) }))
      return answer.promise
    },
    listen: listener => {
      listeners.push(listener)
    },
  }
}

async function open(wire: Wire, { url, view }: { url: string; view: View }): Promise<Look> {
  const { targetId } = await wire.send('Target.createTarget', { url: 'about:blank' })
  const { sessionId } = await wire.send('Target.attachToTarget', { targetId, flatten: true })
  const session = z.string().parse(sessionId)
  const send = (method: string, params?: object) => wire.send(method, params, session)
  const complaints: string[] = []
  const requests: string[] = []
  const loaded = Promise.withResolvers<void>()
  wire.listen(({ sessionId: from, method, params }) => {
    if (from !== session) return
    if (method === 'Page.loadEventFired') loaded.resolve()
    if (method === 'Network.requestWillBeSent') requests.push(JSON.stringify(params?.['request']))
    if (method === 'Log.entryAdded' || method === 'Runtime.exceptionThrown')
      complaints.push(JSON.stringify(params))
  })
  const { width, height, scheme, isPhone = false } = view
  for (const domain of ['Page', 'Network', 'Log', 'Runtime']) await send(`${domain}.enable`)
  await send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: isPhone })
  await send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] })
  await send('Page.navigate', { url })
  await loaded.promise
  return {
    complaints,
    requests,
    evaluate: async expression => {
      const { result } = await send('Runtime.evaluate', { expression, returnByValue: true })
      return z.object({ value: z.unknown().optional() }).parse(result).value
    },
    screenshot: async () => {
      const { data } = await send('Page.captureScreenshot', { format: 'png', captureBeyondViewport: false })
      return Buffer.from(z.string().parse(data), 'base64')
    },
  }
}
