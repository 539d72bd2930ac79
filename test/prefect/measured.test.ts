import t from 'tap'

import { endpointOf } from '../../src/prefect/measured.ts'

const API = 'https://prefect.example.com/tools/prefect/api'
const ID = '5be8d45f-6055-47d6-93fa-8a37382c8509'

const endpoints: Readonly<Record<string, readonly [method: string, path: string, endpoint: string]>> = {
  'a filter is none of its runs': ['POST', '/flow_runs/filter', 'POST /flow_runs/filter'],
  'a run is not told by its id': ['GET', `/flow_runs/${ID}`, 'GET /flow_runs/{id}'],
  'nor is what is done to it': ['POST', `/flow_runs/${ID}/set_state`, 'POST /flow_runs/{id}/set_state'],
  'an id that is none is one, too': ['GET', '/flow_runs/filters-x', 'GET /flow_runs/{id}'],
  'a query is left out': ['GET', `/flow_run_states/?flow_run_id=${ID}`, 'GET /flow_run_states/'],
  'a slash at the end counts': ['POST', '/logs/', 'POST /logs/'],
}

for (const [sentence, [method, path, endpoint]] of Object.entries(endpoints)) {
  t.test(sentence, async t => {
    t.equal(endpointOf({ method, url: API + path }, API), endpoint)
  })
}
