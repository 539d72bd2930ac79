import { parser } from '@prometheus-io/lezer-promql'

/** One label that a selector asks for. */
export interface Matcher {
  readonly label: string
  readonly operator: string
  readonly value: string
}

/** `name{label="value"}` in a query. */
export interface Selector {
  readonly metric: string
  readonly matchers: readonly Matcher[]
}

export interface Query {
  readonly selectors: readonly Selector[]
  /** What it groups or joins by. */
  readonly grouping: readonly string[]
}

/** Grafana's variables with values that it might put there. */
const filledIn = (expression: string): string =>
  expression.replaceAll('$__rate_interval', '5m').replaceAll('$__range', '6h').replaceAll('$job', '.+')

type Node = ReturnType<typeof parser.parse>['topNode']

/** All nodes of a query, in the order of the text. @throws where it is no PromQL, with the place. */
function nodesOf(text: string): readonly Node[] {
  const nodes: Node[] = []
  const cursor = parser.parse(text).cursor()
  do {
    if (cursor.type.isError) throw new Error(`no PromQL at ${cursor.from}: ${text}`)
    nodes.push(cursor.node)
  } while (cursor.next())
  return nodes
}

/**
 * What a query asks of whom, by Prometheus' own grammar.
 * @throws where it is no PromQL, or a selector names no metric.
 */
export function parseQuery(expression: string): Query {
  const text = filledIn(expression)
  const nodes = nodesOf(text)
  const textOf = (node: Node, child: string): string => {
    const { from = 0, to = 0 } = node.getChild(child) ?? {}
    return text.slice(from, to)
  }
  const matcherOf = (node: Node): Matcher => ({
    label: textOf(node, 'LabelName'),
    operator: textOf(node, 'MatchOp'),
    value: textOf(node, 'StringLiteral').slice(1, -1),
  })
  const selectors = nodes
    .filter(({ name }) => name === 'VectorSelector')
    .map(node => ({
      metric: textOf(node, 'Identifier'),
      matchers: (node.getChild('LabelMatchers')?.getChildren('UnquotedLabelMatcher') ?? []).map(matcherOf),
    }))
  if (selectors.some(({ metric }) => metric === '')) throw new Error(`a selector without a metric: ${text}`)
  const grouping = nodes
    .filter(({ name, parent }) => name === 'LabelName' && parent?.name === 'GroupingLabels')
    .map(({ from, to }) => text.slice(from, to))
  return { selectors, grouping }
}
