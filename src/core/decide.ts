import { missing, nothing } from './answers.ts'
import type { Case, RunCase } from './case.ts'
import { caseOf } from './case.ts'
import type { Facts } from './facts.ts'
import { untilHeartIsSilent } from './heart.ts'
import { endOrRetry, endStuck } from './moves.ts'
import { RULES_OF_DEATH } from './rules/of-death.ts'
import { RULES_OF_LIFE } from './rules/of-life.ts'
import { RULES_OF_RUN } from './rules/of-run.ts'
import type { Rule } from './rules/rule.ts'
import type { VerdictSettings } from './settings.ts'
import { factsInWords } from './trail.ts'
import { hasLeftProcess } from './unseen-end.ts'
import type { Decision, TrailStep, Verdict } from './verdict.ts'

/**
 * Decides one flow run. Pure: the same facts and settings give the same verdict, today and replayed from a file.
 *
 * The order is the argument: first whatever shows that the run may still live, then whatever Prefect says that
 * makes it none of our business, then what must be waited for; a run that no rule speaks for is dead.
 *
 * @returns the verdict of the first rule that has one, and the trail: the facts in words and every rule asked.
 */
export function decide(facts: Facts, settings: VerdictSettings): Decision {
  const asked: TrailStep[] = []
  const question = caseOf(facts, settings)
  const verdict = firstAnswer(RULES_OF_LIFE, question, asked) ?? decideRun(question, asked)
  return { verdict, trail: { facts: factsInWords(question), diagnosis: question.finding.rule, rules: asked } }
}

/** Kubernetes has given up, or the start is stuck beyond its grace: now Prefect is asked. */
function decideRun(facts: Case, asked: TrailStep[]): Verdict {
  const { flowRun } = facts.facts
  if (!flowRun?.known) return answered(asked, 'flowRunIsUnknown', missing('flowRun', flowRun))
  if (!flowRun.value) return answered(asked, 'flowRunIsGone', nothing('FlowRunNotFound'))
  const question = { ...facts, run: flowRun.value }
  return firstAnswer(RULES_OF_RUN, question, asked) ?? decideEnd(question, asked)
}

function decideEnd(facts: RunCase, asked: TrailStep[]): Verdict {
  const { life } = facts
  if (life.kind !== 'dead') return decideStuck(facts, asked)
  const question = { ...facts, death: life }
  return firstAnswer(RULES_OF_DEATH, question, asked) ?? answered(asked, 'runIsDead', endOrRetry(question))
}

/** A pod before the stuck one may go on where nobody sees it. */
function decideStuck(facts: RunCase, asked: TrailStep[]): Verdict {
  const silence = hasLeftProcess(facts) ? untilHeartIsSilent(facts) : undefined
  return answered(asked, 'startIsStuckTooLong', silence ?? endStuck(facts))
}

function firstAnswer<C>(rules: readonly Rule<C>[], facts: C, asked: TrailStep[]): Verdict | undefined {
  for (const { name, decide: answerOf } of rules) {
    const verdict = answerOf(facts)
    if (verdict) return answered(asked, name, verdict)
    asked.push({ rule: name })
  }
  return undefined
}

function answered(asked: TrailStep[], rule: string, verdict: Verdict): Verdict {
  asked.push({
    rule,
    answer: verdict.kind === 'ask' ? `ask for ${verdict.need}` : `${verdict.kind} ${verdict.reason}`,
  })
  return verdict
}
