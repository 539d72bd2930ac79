import { Command } from 'commander'
import { certificatesIn, ownCertificates } from './commands/certificate-source.ts'
import { dev, DEV_ENVIRONMENT } from './commands/dev.ts'
import { createFoundation } from './commands/foundation.ts'
import { serve } from './commands/serve.ts'
import { ConfigError, readConfig } from './config.ts'

const program = new Command('prefect-lifeguard')
  .description(
    'Ends Prefect subflow runs whose Kubernetes pods died, with a diagnosis, and never a live one.',
  )
  .showHelpAfterError()

program
  .command('serve', { isDefault: true })
  .description('admission webhook and observer, as installed in a cluster')
  .action(async () => {
    const foundation = createFoundation(readConfig(process.env))
    const { certificateDir } = foundation.config.admission
    const certificates =
      certificateDir === undefined ? ownCertificates(foundation) : certificatesIn(certificateDir, foundation)
    await serve(foundation, { certificates }, untilStopped())
  })

program
  .command('dev')
  .description(
    'the same on this machine, against the current kubeconfig, its webhooks registered while it runs',
  )
  .option('--host <address>', 'where the API server reaches this machine', '127.0.0.1')
  .action(async ({ host }: { host: string }) => {
    const foundation = createFoundation(readConfig({ ...DEV_ENVIRONMENT, ...process.env }))
    await dev(foundation, { host, certificateDir: new URL('../certs/', import.meta.url) }, untilStopped())
  })

/** Aborts with the first SIGTERM or Ctrl-C; the second one ends the process at once. */
function untilStopped(): AbortSignal {
  const stop = new AbortController()
  for (const name of ['SIGTERM', 'SIGINT'] as const)
    process.on(name, () => {
      if (stop.signal.aborted) process.exit(1)
      stop.abort(new Error(`stopped by ${name}`))
    })
  return stop.signal
}

try {
  await program.parseAsync()
} catch (error) {
  if (!(error instanceof ConfigError)) throw error
  process.stderr.write(`${error.message}\n`)
  process.exitCode = 2
}
