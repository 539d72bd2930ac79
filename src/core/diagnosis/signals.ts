import type { ContainerTermination } from '../objects.ts'

/** Linux' signals that end a process, by number. Source: signal(7), x86 and ARM. */
const SIGNAL_NAMES: Readonly<Record<number, string>> = {
  1: 'SIGHUP',
  2: 'SIGINT',
  3: 'SIGQUIT',
  4: 'SIGILL',
  5: 'SIGTRAP',
  6: 'SIGABRT',
  7: 'SIGBUS',
  8: 'SIGFPE',
  9: 'SIGKILL',
  10: 'SIGUSR1',
  11: 'SIGSEGV',
  12: 'SIGUSR2',
  13: 'SIGPIPE',
  14: 'SIGALRM',
  15: 'SIGTERM',
  16: 'SIGSTKFLT',
  24: 'SIGXCPU',
  25: 'SIGXFSZ',
  26: 'SIGVTALRM',
  27: 'SIGPROF',
  29: 'SIGIO',
  30: 'SIGPWR',
  31: 'SIGSYS',
}

/** Shells and container runtimes report a process that signal n ended as exit code 128 + n. */
const SIGNAL_BASE = 128

/** The signal that ended a container: the one Kubernetes names, else the one in the exit code. */
export const signalOf = ({ exitCode, signal }: ContainerTermination): string | undefined =>
  SIGNAL_NAMES[signal ?? exitCode - SIGNAL_BASE]
