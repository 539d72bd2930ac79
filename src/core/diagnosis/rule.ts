import type { Pod } from '../objects.ts'
import type { Diagnosis, DiagnosisEvidence } from './diagnosis.ts'

/** A rule about one pod: its name, for the trail, and its answer where it has one. */
export interface PodRule {
  readonly name: string
  readonly explain: (pod: Pod, evidence: DiagnosisEvidence) => Diagnosis | undefined
}
