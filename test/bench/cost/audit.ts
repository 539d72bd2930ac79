import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { createGuard } from '../../cluster/guard.ts'

/** The API server's own record of who asked it what. */
export interface AuditLog extends AsyncDisposable {
  /** To start the API server with. */
  readonly flags: readonly string[]
  /** Requests so far by `verb resource`, of clients whose user agent this is. */
  readonly requests: (isClient: (userAgent: string) => boolean) => Promise<ReadonlyMap<string, number>>
}

/** Each request once, when it comes in: a watch ends much later. */
const POLICY = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [ResponseStarted, ResponseComplete, Panic]
rules:
  - level: Metadata
`

const lineSchema = z.looseObject({
  verb: z.string(),
  userAgent: z.string().default(''),
  requestURI: z.string(),
  objectRef: z
    .looseObject({ resource: z.string().default(''), subresource: z.string().default('') })
    .optional(),
})

/** Prepares an audit log in a folder of its own, which disposal removes. */
export async function createAuditLog(): Promise<AuditLog> {
  const folder = await mkdtemp(join(tmpdir(), 'prefect-lifeguard-audit-'))
  const guard = await createGuard()
  guard.afterDeath({ kind: 'folder', path: folder })
  const policy = join(folder, 'policy.yaml')
  const log = join(folder, 'audit.log')
  await writeFile(policy, POLICY)
  return {
    flags: [`--audit-policy-file=${policy}`, `--audit-log-path=${log}`],
    requests: async isClient => {
      const lines = (await readFile(log, 'utf8')).trim().split('\n')
      const counts = new Map<string, number>()
      for (const line of lines.map(text => lineSchema.parse(JSON.parse(text)))) {
        if (!isClient(line.userAgent)) continue
        const what = `${line.verb} ${nameOf(line)}`
        counts.set(what, (counts.get(what) ?? 0) + 1)
      }
      return counts
    },
    // It also removes the folder.
    [Symbol.asyncDispose]: guard.close,
  }
}

function nameOf({ objectRef, requestURI }: z.infer<typeof lineSchema>): string {
  if (!objectRef || objectRef.resource === '') return requestURI.split('?')[0] ?? ''
  return objectRef.subresource === '' ? objectRef.resource : `${objectRef.resource}/${objectRef.subresource}`
}
