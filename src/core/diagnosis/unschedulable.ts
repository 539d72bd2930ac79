/** Prefect's subcategories, in Prefect's order. Source: `prefect_kubernetes.diagnostics._categorize_unschedulable`. */
const CATEGORIES = [
  {
    words: ['taint'],
    category: 'Unschedulable.Taint',
    resolution:
      "Add the toleration to the pod in the work pool's base job template, or take the taint off a node: `kubectl get nodes -o custom-columns=NAME:.metadata.name,TAINTS:.spec.taints`.",
  },
  {
    words: ['affinity', 'node selector'],
    category: 'Unschedulable.NodeAffinity',
    resolution:
      "Correct nodeSelector or affinity in the work pool's base job template, or label a node: `kubectl get nodes --show-labels`.",
  },
  {
    words: ['insufficient'],
    category: 'Unschedulable.InsufficientResources',
    resolution:
      "Lower `cpu_request` or `memory_request` in the deployment's job_variables, or add nodes: `kubectl describe nodes` shows what is free.",
  },
  {
    words: ['persistentvolumeclaim'],
    category: 'Unschedulable',
    resolution:
      "Create the PersistentVolumeClaim that the work pool's base job template names, or see why it is not bound: `kubectl get pvc -n <namespace>`.",
  },
] as const

/** Prefect's category for a scheduler's message and what helps; nothing where the message says nothing we know. */
export function unschedulableFrom(message: string): {
  readonly category?: string
  readonly resolution?: string
} {
  const text = message.toLowerCase()
  const match = CATEGORIES.find(({ words }) => words.some(word => text.includes(word)))
  return match ? { category: match.category, resolution: match.resolution } : {}
}
