import type { Access } from './http/access.ts'
import { isNotFound, KubernetesError } from './http/errors.ts'
import { objectPath, PODS } from './paths.ts'

export interface PodLogTail {
  readonly namespace: string
  readonly pod: string
  readonly container: string
  /** Most lines. */
  readonly lines: number
  /** Most bytes of what is returned, in UTF-8. */
  readonly bytes: number
  /** Of the container's life before the last restart. */
  readonly previous?: boolean
}

/**
 * The apiserver's own limit cuts the *end* off, which is the part that matters; so it only bounds what is fetched,
 * and the tail is taken here.
 */
const FETCHED_BYTES = 1024 * 1024

const BAD_REQUEST = 400

/**
 * The end of a container's log; `undefined` when there is none: the pod is gone, the container has not started, or
 * its log was removed. Throws when the kubelet cannot be reached.
 */
export async function podLogTail(
  access: Pick<Access, 'request'>,
  tail: PodLogTail,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { namespace, pod, container, lines, bytes, previous } = tail
  try {
    return await access.request({
      method: 'GET',
      path: `${objectPath(PODS, { namespace, name: pod })}/log`,
      query: { container, tailLines: lines, limitBytes: Math.max(bytes, FETCHED_BYTES), previous },
      accept: '*/*',
      signal,
      parse: body => endOf(typeof body === 'string' ? body : JSON.stringify(body), bytes),
    })
  } catch (error) {
    if (isNotFound(error) || hasNoLog(error)) return undefined
    throw error
  }
}

/** "container is waiting to start", "previous terminated container not found": there is nothing to read. */
const hasNoLog = (error: unknown): boolean => error instanceof KubernetesError && error.status === BAD_REQUEST

/** The last lines that fit, whole where possible; characters are never cut. */
function endOf(text: string, bytes: number): string {
  const buffer = Buffer.from(text)
  if (buffer.length <= bytes) return text
  const end = buffer.subarray(buffer.length - bytes)
  const newline = end.indexOf('\n')
  if (newline !== -1 && newline < end.length - 1) return end.toString('utf8', newline + 1)
  return end.toString('utf8').replace(/^\uFFFD+/, '')
}
