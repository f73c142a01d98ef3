// Following the log without loss, as a fold: what was heard goes in, what is to be done comes out. No timer, no
// connection and no clock here, so that every way to lose one can be tried.
//
// Rules:
// 1. A fact counts once: one whose position is not after the last is a repetition.
// 2. Positions have no gaps. One that is further on says that something in between was not heard: come again from the
//    last that was.
// 3. A connection that the browser repairs itself is left to it (it sends Last-Event-ID); one that it gave up is opened
//    anew from the last position, later each time.
// 4. A log that ends before what was heard was replaced by an older copy, and of one that begins after it the facts in
//    between were pruned: everything is asked anew.

export type Phase = 'connecting' | 'live' | 'lost'

export interface Following {
  phase: Phase
  /** The last position that was heard; null before the first connection. */
  position: number | null
  /** How often it was tried since it worked last. */
  attempts: number
}

export type Heard =
  | { kind: 'ready'; position: number }
  | { kind: 'fact'; position: number }
  | { kind: 'reset' }
  | { kind: 'failed'; closed: boolean }
  /** Where the log that is there begins and ends now. */
  | { kind: 'bounds'; first: number; head: number }

export type Todo =
  | { kind: 'nothing' }
  | { kind: 'take' }
  | { kind: 'open'; after: number | null; inMillis: number }
  | { kind: 'connect' }
  | { kind: 'begin anew' }

export const START: Following = { phase: 'connecting', position: null, attempts: 0 }

const WAITS = [250, 1000, 2000, 5000, 10000]

/** How long to wait before the next try. */
export function wait(attempts: number): number {
  return WAITS[Math.min(attempts, WAITS.length - 1)]!
}

export function follow(state: Following, heard: Heard): [Following, Todo] {
  switch (heard.kind) {
    case 'ready':
      return [{ phase: 'live', position: state.position ?? heard.position, attempts: 0 }, { kind: 'nothing' }]
    case 'fact':
      if (state.position !== null && heard.position <= state.position) return [state, { kind: 'nothing' }]
      if (state.position !== null && heard.position > state.position + 1) return reopen(state)
      return [{ phase: 'live', position: heard.position, attempts: 0 }, { kind: 'take' }]
    case 'reset':
      return reopen(state)
    case 'failed':
      return heard.closed ? reopen(state) : [{ ...state, phase: 'lost' }, { kind: 'nothing' }]
    case 'bounds': {
      const place = state.position ?? heard.head
      if (heard.first <= place + 1 && place <= heard.head) return [state, { kind: 'connect' }]
      return [{ phase: 'connecting', position: heard.head, attempts: 0 }, { kind: 'begin anew' }]
    }
  }
}

function reopen(state: Following): [Following, Todo] {
  const next: Following = { ...state, phase: 'lost', attempts: state.attempts + 1 }
  return [next, { kind: 'open', after: state.position, inMillis: wait(state.attempts) }]
}
