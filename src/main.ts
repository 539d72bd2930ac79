import { Command } from 'commander'
import { certificatesIn, ownCertificates } from './commands/certificate-source.ts'
import { check, codeOfFindings, findingsAsJson, findingsInWords } from './commands/check/check.ts'
import { dev, DEV_ENVIRONMENT } from './commands/dev.ts'
import type { Recording } from './commands/explain.ts'
import {
  ArgumentError,
  decisionOn,
  examine,
  explanationOf,
  readRecording,
  writeRecording,
} from './commands/explain.ts'
import { createFoundation } from './commands/foundation.ts'
import { EXIT_CODES, EXIT_CODES_HELP, exitCodeOf, isAgreed, once, Stopped } from './commands/once.ts'
import type { ScanOptions } from './commands/scan/command.ts'
import { scanAndFix } from './commands/scan/command.ts'
import { serve } from './commands/serve.ts'
import { readConfig } from './config.ts'

const program = new Command('prefect-lifeguard')
  .description(
    'Ends Prefect subflow runs whose Kubernetes pods died, with a diagnosis, and never a live one.',
  )
  .showHelpAfterError()
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? EXIT_CODES.well : EXIT_CODES.usage))

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

program
  .command('explain')
  .description(
    'tells what would be done about a flow run, and why: live, or from a recorded case; changes nothing',
  )
  .argument('[flow-run-id]', 'a flow run, examined in the current cluster and Prefect')
  .option('--file <path>', 'a recorded case instead')
  .option('--record <path>', 'write the case down, so that it can be decided again')
  .option('--json', 'for programs')
  .action(async (flowRunId: string | undefined, options: ExplainOptions) => {
    const recording = await recordingOf(flowRunId, options)
    if (options.record !== undefined) await writeRecording(options.record, recording)
    const text = options.json
      ? `${JSON.stringify(decisionOn(recording), undefined, 2)}\n`
      : explanationOf(recording)
    process.stdout.write(text)
  })

program
  .command('scan')
  .description(
    "compares Prefect's live subflow runs with the cluster; read-only unless told to fix; needs no installation",
  )
  .option('--fix', 'carry the verdicts out, after showing them and asking')
  .option('--yes', 'do not ask')
  .option('--json', 'for programs')
  .addHelpText('after', EXIT_CODES_HELP)
  .action(async (options: ScanOptions) => {
    const conversation = { print, isAgreed: process.stdin.isTTY ? isAgreed : undefined }
    process.exitCode = await once(process.env, foundation =>
      scanAndFix(foundation, { options, conversation }, untilStopped()),
    )
  })

program
  .command('check')
  .description(
    'looks at all that an installation stands on: both APIs, rights, webhooks, certificates, clocks; changes nothing',
  )
  .option('--as-installed', 'the rights of the installed service account instead of your own')
  .option('--json', 'for programs')
  .addHelpText('after', EXIT_CODES_HELP)
  .action(async ({ asInstalled = false, json = false }: { asInstalled?: boolean; json?: boolean }) => {
    process.exitCode = await once(process.env, async foundation => {
      const findings = await check(foundation, { asInstalled }, untilStopped())
      const { targets } = foundation
      if (json) print(`${JSON.stringify(findingsAsJson(findings, targets), undefined, 2)}\n`)
      else print(findingsInWords(findings, targets))
      return codeOfFindings(findings)
    })
  })

interface ExplainOptions {
  readonly file?: string
  readonly record?: string
  readonly json?: boolean
}

async function recordingOf(flowRunId: string | undefined, { file }: ExplainOptions): Promise<Recording> {
  if (file !== undefined) return readRecording(file)
  if (flowRunId === undefined) throw new ArgumentError('say which flow run, or --file')
  return once(process.env, foundation => examine(foundation, flowRunId, untilStopped()))
}

function print(text: string): void {
  process.stdout.write(text)
}

/** Aborts with the first SIGTERM or Ctrl-C; the second one ends the process at once. */
function untilStopped(): AbortSignal {
  const stop = new AbortController()
  for (const name of ['SIGTERM', 'SIGINT'] as const)
    process.on(name, () => {
      if (stop.signal.aborted) process.exit(1)
      stop.abort(new Stopped(`stopped by ${name}`))
    })
  return stop.signal
}

try {
  await program.parseAsync()
} catch (error) {
  const code = exitCodeOf(error)
  if (code === undefined) throw error
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = code
}
