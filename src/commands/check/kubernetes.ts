import { z } from 'zod'
import type { Finding } from './finding.ts'
import { ok, warning, wordsOf, wrong } from './finding.ts'
import type { Foundation } from '../foundation.ts'

const NAME = 'Kubernetes API'

/** Match conditions of webhooks are on by default since then. Source: kubernetes.io, ValidatingAdmissionPolicy and matchConditions. */
const OLDEST_MINOR = 30

const versionSchema = z.object({ major: z.string(), minor: z.string(), gitVersion: z.string() })

/** What the API server says of itself, and its clock. */
export interface Answered {
  readonly finding: Finding
  /** By the server's clock, in milliseconds; undefined where nothing was answered. */
  readonly time?: number | undefined
}

/** Whether the API server answers, and is new enough. */
export async function checkKubernetes(
  { access, targets }: Pick<Foundation, 'access' | 'targets'>,
  signal: AbortSignal,
): Promise<Answered> {
  try {
    const parse = (answer: unknown) => versionSchema.parse(answer)
    const version = await access.request({ method: 'GET', path: '/version', signal, parse })
    return { finding: findingOf(version), time: access.serverNow() }
  } catch (error) {
    signal.throwIfAborted()
    return {
      finding: wrong(
        NAME,
        `${targets.cluster} (context ${targets.context}): ${wordsOf(error)}`,
        'see KUBECONFIG and its current context: `kubectl cluster-info`',
      ),
    }
  }
}

function findingOf({ minor, gitVersion }: z.infer<typeof versionSchema>): Finding {
  if (Number.parseInt(minor, 10) >= OLDEST_MINOR) return ok(NAME, `answers, ${gitVersion}`)
  return warning(
    NAME,
    `answers, ${gitVersion}`,
    `the webhooks need Kubernetes 1.${OLDEST_MINOR} (match conditions); scan, explain and the observer do not`,
  )
}
