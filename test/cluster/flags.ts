import { join } from 'node:path'
import type { ControlPlaneOptions } from './control-plane.ts'

const NODE_MONITOR_GRACE_SECONDS = 20

/** A Unix socket, so that etcd takes no port and nobody but us reaches it. */
export const etcdSocket = (folder: string): string => join(folder, 'etcd.sock')

/** One member that nobody peers with, and that may lose everything in a power cut: no fsync makes it several times faster. */
export function etcdFlags(folder: string): string[] {
  const client = `unix://${etcdSocket(folder)}`
  // It insists on a peer address; port 0 is any free one.
  const peer = 'http://127.0.0.1:0'
  return [
    `--data-dir=${join(folder, 'etcd')}`,
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=default=${peer}`,
    '--unsafe-no-fsync',
    '--log-level=warn',
  ]
}

interface Place {
  readonly folder: string
  readonly options: ControlPlaneOptions
}

/** Certificates by writeCredentials, kubeconfig by writeKubeconfig. */
export function apiserverFlags({ folder, options }: Place, port: number): string[] {
  const seconds = options.tolerationSeconds
  const tolerations = [
    `--default-not-ready-toleration-seconds=${seconds}`,
    `--default-unreachable-toleration-seconds=${seconds}`,
  ]
  return [
    `--etcd-servers=unix://${etcdSocket(folder)}`,
    '--bind-address=127.0.0.1',
    `--secure-port=${port}`,
    // It publishes this as the endpoint of Service "kubernetes", and refuses a loopback address there.
    '--endpoint-reconciler-type=none',
    `--cert-dir=${folder}`,
    `--tls-cert-file=${join(folder, 'apiserver.crt')}`,
    `--tls-private-key-file=${join(folder, 'apiserver.key')}`,
    `--token-auth-file=${join(folder, 'tokens.csv')}`,
    '--authorization-mode=Node,RBAC',
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-key-file=${join(folder, 'service-account.pub')}`,
    `--service-account-signing-key-file=${join(folder, 'service-account.key')}`,
    '--service-cluster-ip-range=10.96.0.0/16',
    // Where it fetches logs from: the process node gives this address.
    '--kubelet-preferred-address-types=InternalIP',
    '--allow-privileged',
    ...(seconds === undefined ? [] : tolerations),
    ...(options.apiserverFlags ?? []),
  ]
}

/** Every controller there is by default, the way a real cluster runs. No port: nobody asks for its metrics. */
export function controllerManagerFlags(folder: string, options: ControlPlaneOptions): string[] {
  return [
    ...clientFlags(folder),
    `--root-ca-file=${join(folder, 'ca.crt')}`,
    `--service-account-private-key-file=${join(folder, 'service-account.key')}`,
    '--use-service-account-credentials=false',
    `--node-monitor-grace-period=${options.nodeMonitorGraceSeconds ?? NODE_MONITOR_GRACE_SECONDS}s`,
    '--node-monitor-period=1s',
    // By default 20 a second, which a test that makes a hundred Jobs would measure.
    '--kube-api-qps=1000',
    '--kube-api-burst=2000',
    ...(options.controllerManagerFlags ?? []),
  ]
}

export const schedulerFlags = (folder: string, options: ControlPlaneOptions): string[] => [
  ...clientFlags(folder),
  '--kube-api-qps=1000',
  '--kube-api-burst=2000',
  ...(options.schedulerFlags ?? []),
]

const clientFlags = (folder: string): string[] => [
  `--kubeconfig=${join(folder, 'kubeconfig')}`,
  '--leader-elect=false',
  '--secure-port=0',
]
