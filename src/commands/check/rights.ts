import { z } from 'zod'
import type { Access } from '../../kubernetes/http/access.ts'
import type { Finding } from './finding.ts'
import { ok, skipped, warning, wordsOf, wrong } from './finding.ts'
import type { Foundation } from '../foundation.ts'
import type { Right } from './granted.ts'
import { rightInWords, rightsFor } from './granted.ts'

/** Whose rights are asked about. */
export interface Whose {
  /** Those of the installed service account, rather than our own; asking about somebody else is a right, too. */
  readonly asInstalled?: boolean
}

const AUTHORIZATION = '/apis/authorization.k8s.io/v1'

const reviewSchema = z.object({
  status: z.object({ allowed: z.boolean(), reason: z.string().optional() }),
})

const NAME = 'rights'

/** What it does without: everything else has to be granted. */
const OPTIONAL: ReadonlySet<string> = new Set(['get pods/log', 'list events'])

/** Asks the API server about each right that manifests/base/rbac.yaml grants; one finding for each role. */
export async function checkRights(
  foundation: Pick<Foundation, 'access' | 'config'>,
  whose: Whose,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const rights = await rightsFor(foundation.config)
  const subject = whose.asInstalled ? serviceAccountOf(foundation.config) : undefined
  try {
    const asked = await Promise.all(
      rights.map(async right => ({
        right,
        isAllowed: await isAllowed(foundation.access, { right, subject }, signal),
      })),
    )
    return [...Map.groupBy(asked, ({ right }) => right.role)].map(([role, answers]) =>
      findingOf(role, answers),
    )
  } catch (error) {
    signal.throwIfAborted()
    return [skipped(NAME, `could not be asked about: ${wordsOf(error)}`)]
  }
}

interface Subject {
  readonly user: string
  readonly groups: readonly string[]
}

/** As the API server knows it. Source: kubernetes.io, "Authenticating", service account tokens. */
function serviceAccountOf({ namespace, service }: Foundation['config']): Subject {
  const all = 'system:serviceaccounts'
  return {
    user: `system:serviceaccount:${namespace}:${service}`,
    groups: [all, `${all}:${namespace}`, 'system:authenticated'],
  }
}

async function isAllowed(
  access: Access,
  { right, subject }: { readonly right: Right; readonly subject: Subject | undefined },
  signal: AbortSignal,
): Promise<boolean> {
  const { role: _role, ...resourceAttributes } = right
  const kind = subject ? 'SubjectAccessReview' : 'SelfSubjectAccessReview'
  return access.request({
    method: 'POST',
    path: `${AUTHORIZATION}/${kind.toLowerCase()}s`,
    body: {
      apiVersion: 'authorization.k8s.io/v1',
      kind,
      spec: { resourceAttributes, ...subject },
    },
    signal,
    // It asks and creates nothing.
    attempts: 3,
    parse: answer => reviewSchema.parse(answer).status.allowed,
  })
}

interface Answer {
  readonly right: Right
  readonly isAllowed: boolean
}

function findingOf(role: string, answers: readonly Answer[]): Finding {
  const name = `${NAME} of ${role}`
  const refused = answers.filter(answer => !answer.isAllowed).map(({ right }) => rightInWords(right))
  if (refused.length === 0)
    return ok(name, answers.length === 1 ? 'granted' : `all ${answers.length} are granted`)
  const detail = `not granted: ${refused.join(', ')}`
  const isOptional = refused.every(right => OPTIONAL.has(right.replace(/ in .*/, '')))
  return isOptional
    ? warning(name, detail, 'diagnoses lack what these would tell; manifests/base/rbac.yaml grants them')
    : wrong(
        name,
        detail,
        'apply manifests/base/rbac.yaml (or overlays/namespaced); with --as-installed the rights of the installed service account are looked at',
      )
}
