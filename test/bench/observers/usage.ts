import { readFile, readdir, readlink } from 'node:fs/promises'

/** What a process has used; of Linux, from /proc. */
export interface Usage {
  readonly rssMiB: number
  /** User and system time since its start, in seconds. */
  readonly cpuSeconds: number
}

/** `USER_HZ`, which Linux shows to programs as 100 on every architecture that Node runs on. */
const TICKS = 100

const KIB_PER_MIB = 1024

/** @throws where there is no such process (any more). */
export async function usageOf(pid: number): Promise<Usage> {
  const [status, stat] = await Promise.all([
    readFile(`/proc/${pid}/status`, 'utf8'),
    readFile(`/proc/${pid}/stat`, 'utf8'),
  ])
  const rss = /^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]
  // Fields 14 and 15 (proc_pid_stat(5)); the name before them may hold anything and ends with the last bracket.
  const [utime, stime] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13)
  return { rssMiB: Number(rss) / KIB_PER_MIB, cpuSeconds: (Number(utime) + Number(stime)) / TICKS }
}

/** `ESTABLISHED` in /proc/net/tcp. */
const ESTABLISHED = '01'

/** Established TCP connections of a process to a port. */
export async function connectionsTo(port: number, pid: number): Promise<number> {
  const folder = `/proc/${pid}/fd`
  const targets = await Promise.all(
    (await readdir(folder)).map(file => readlink(`${folder}/${file}`).catch(() => '')),
  )
  const own = new Set(targets.map(target => /^socket:\[(\d+)\]$/.exec(target)?.[1]))
  const lines = (await readFile(`/proc/${pid}/net/tcp`, 'utf8')).trim().split('\n').slice(1)
  return lines.filter(line => {
    const [, , remote = '', state, , , , , , inode] = line.trim().split(/\s+/)
    return state === ESTABLISHED && Number.parseInt(remote.split(':')[1] ?? '', 16) === port && own.has(inode)
  }).length
}
