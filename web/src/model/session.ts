// Who looks at the page. Without a session it waits for one: a link opened in any tab of this browser lets it in.

import { ProblemError, ask, writeWith } from './ask.ts'
import { admission } from './state.ts'
import type { Session } from '../wire.ts'

const AGAIN = 3000

/** Ask who one is; true once somebody is let in. */
export async function admit(): Promise<boolean> {
  try {
    const { body } = await ask<Session>('/v1/session')
    writeWith(body.csrf)
    admission.value = { kind: 'in', session: body }
    return true
  } catch (error) {
    if (error instanceof ProblemError) admission.value = { kind: 'out', why: error.status === 401 ? '' : error.message }
    else if (admission.value.kind !== 'in') admission.value = { kind: 'out', why: 'The service does not answer.' }
    return false
  }
}

/** Wait until somebody is let in. */
export async function admitted(): Promise<void> {
  while (!(await admit())) await new Promise((done) => setTimeout(done, AGAIN))
}
