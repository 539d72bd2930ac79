import { hash } from 'node:crypto'
import { barChart } from './chart.ts'
import type { Bar } from './chart.ts'
import { Html, html } from './html.ts'
import type { Check, StatusReport, ToldVerdict, WatchedRun } from './status-report.ts'
import { STYLE } from './status-style.ts'

/**
 * What a browser may do with the page: show it, with this one style. No script, no form, no frame, nothing from
 * elsewhere; should escaping fail one day, what got in does nothing.
 */
export const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${hash('sha256', STYLE, 'base64')}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** As it is hashed: not a space more, which a formatter of templates might add. */
const STYLE_ELEMENT = new Html(`<style>${STYLE}</style>`)

/** The status page of one replica: server-rendered, complete in itself, for a wide screen or a phone. */
export function statusPage(report: StatusReport): string {
  const { now, identity, isLeader, mode, parts, since } = report
  const ill = parts.filter(({ ok }) => !ok).length
  const page = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>prefect-lifeguard: ${ill === 0 ? 'all is well' : `${ill} not well`}</title>
        ${STYLE_ELEMENT}
      </head>
      <body>
        <header>
          <h1>prefect-lifeguard</h1>
          <p>
            ${isLeader ? 'This replica leads' : 'This replica stands by'}: <span class="id">${identity}</span>
          </p>
          <p class="quiet">${mode}</p>
        </header>
        <main>
          <h2>Parts</h2>
          <ul class="parts">
            ${parts.map(partOf)}
          </ul>
          ${deathsOf(report)} ${verdictsOf(report)} ${watchedOf(report)}
        </main>
        <footer>
          As of ${timeOf(now)}. Verdicts since ${timeOf(since)}; older ones: annotations of the Jobs, and
          Prefect.
        </footer>
      </body>
    </html>`
  return page.text
}

const timeOf = (instant: number): Html => {
  const iso = new Date(instant).toISOString()
  return html`<time datetime="${iso}">${iso.slice(0, 19).replace('T', ' ')} UTC</time>`
}

const partOf = ({ name, ok, detail }: Check): Html =>
  html`<li>
    <span class="${ok ? 'well' : 'ill'}">${ok ? 'ok' : 'not ok'}</span> ${name}<br /><span class="quiet"
      >${detail}</span
    >
  </li>`

function deathsOf({ verdicts }: StatusReport): Html {
  const deaths = verdicts.filter(({ isDeath }) => isDeath)
  const bars: readonly Bar[] = [...Map.groupBy(deaths, ({ code }) => code)].map(([label, all]) => ({
    label,
    count: all.length,
  }))
  const chart =
    bars.length === 0 ? html`<p class="quiet">None so far.</p>` : barChart('Deaths by diagnosis', bars)
  return html`<h2>Deaths by diagnosis</h2>
    ${chart}`
}

const NOT_HERE = html`<p class="quiet">Verdicts are told by the replica that leads: they are on its page.</p>`

function verdictsOf({ verdicts, isLeader, now }: StatusReport): Html {
  const none = isLeader ? html`<p class="quiet">None so far.</p>` : NOT_HERE
  return html`<h2>Verdicts</h2>
    ${verdicts.length === 0 ? none : verdicts.map(verdict => verdictOf(verdict, now))}`
}

const verdictOf = (
  { at, flowRunId, name, job, code, outcome, text, trail }: ToldVerdict,
  now: number,
): Html =>
  html`<details>
    <summary><code>${code}</code> ${outcome}: ${name} <span class="when">${agoOf(now - at)}</span></summary>
    <div>
      <p>${text}</p>
      <p class="quiet">
        Flow run <span class="id">${flowRunId}</span>, Job <span class="id">${job}</span>, ${timeOf(at)}
      </p>
      <p class="quiet">Rules that were asked</p>
      <ol>
        ${trail.map(step => html`<li><code>${step}</code></li>`)}
      </ol>
    </div>
  </details>`

function watchedOf({ watched: { runs, jobs, pods, shown }, now }: StatusReport): Html {
  const counts = html`<p class="quiet">
    ${runs} runs, ${jobs} Jobs, ${pods} pods${shown.length < runs ? `; ${shown.length} shown` : ''}
  </p>`
  if (shown.length === 0)
    return html`<h2>Watched runs</h2>
      ${counts}`
  return html`<h2>Watched runs</h2>
    ${counts}
    <table>
      <thead>
        <tr>
          <th>Flow run</th>
          <th>Job</th>
          <th>Kubernetes says</th>
          <th>Pods</th>
          <th>Age</th>
        </tr>
      </thead>
      <tbody>
        ${shown.map(run => rowOf(run, now))}
      </tbody>
    </table>`
}

const rowOf = ({ flowRunId, job, state, isAlive, pods, createdAt }: WatchedRun, now: number): Html =>
  html`<tr>
    <td data-label="Flow run" class="id">${flowRunId}</td>
    <td data-label="Job" class="id">${job}</td>
    <td data-label="Kubernetes says">${isAlive ? state : html`<span class="quiet">${state}</span>`}</td>
    <td data-label="Pods">${pods}</td>
    <td data-label="Age">${agoOf(now - createdAt, '')}</td>
  </tr>`

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS

/** About how long ago; a page that is seconds old need not be more exact. */
function agoOf(ms: number, suffix = ' ago'): string {
  if (ms < MINUTE_MS) return `${Math.max(0, Math.round(ms / 1000))} s${suffix}`
  if (ms < HOUR_MS) return `${Math.floor(ms / MINUTE_MS)} min${suffix}`
  return ms < DAY_MS ? `${Math.floor(ms / HOUR_MS)} h${suffix}` : `${Math.floor(ms / DAY_MS)} d${suffix}`
}
