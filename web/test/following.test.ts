import { deepEqual, equal } from 'node:assert/strict'
import { test } from 'node:test'
import { follow, START, wait, type Following, type Heard, type Todo } from '../src/model/following.ts'

/** A log of so many facts, and a connection that is lost at will; what the page took is what comes out. */
function play(length: number, chance: () => number): number[] {
  let state: Following = START
  let todo: Todo = { kind: 'nothing' }
  let sent = 0 // the connection's own place
  const taken: number[] = []
  const hear = (heard: Heard): void => {
    ;[state, todo] = follow(state, heard)
    if (todo.kind === 'take') taken.push((heard as { position: number }).position)
    if (todo.kind === 'open') {
      sent = todo.after ?? sent
      hear({ kind: 'ready', position: sent })
    }
  }
  hear({ kind: 'ready', position: 0 })
  while ((state.position ?? 0) < length) {
    const what = chance()
    if (what < 0.02) hear({ kind: 'reset' })
    else if (what < 0.04) hear({ kind: 'failed', closed: true })
    else if (what < 0.06) {
      // The browser comes again by itself, from the last id that it heard; some of it may have been heard.
      hear({ kind: 'failed', closed: false })
      sent = Math.max(0, (state.position ?? 0) - Math.floor(chance() * 3))
      hear({ kind: 'ready', position: sent })
    } else if (what < 0.08) sent += 1 // a fact is lost on the way
    else if (sent < length) hear({ kind: 'fact', position: (sent += 1) })
    else hear({ kind: 'failed', closed: true })
  }
  return taken
}

/** The same numbers each time. */
function numbers(seed: number): () => number {
  return () => {
    seed = (seed * 1664525 + 1013904223) % 4294967296
    return seed / 4294967296
  }
}

test('whatever happens to the connection, each fact is taken once and in order', () => {
  for (let seed = 0; seed < 200; seed += 1) {
    deepEqual(play(300, numbers(seed)), Array.from({ length: 300 }, (_, index) => index + 1), `seed ${seed}`)
  }
})

test('a fact that was heard before is not taken again', () => {
  const state: Following = { phase: 'live', position: 7, attempts: 0 }
  deepEqual(follow(state, { kind: 'fact', position: 7 }), [state, { kind: 'nothing' }])
})

test('a hole in the positions is not passed over', () => {
  const [state, todo] = follow({ phase: 'live', position: 7, attempts: 0 }, { kind: 'fact', position: 9 })
  equal(state.position, 7)
  deepEqual(todo, { kind: 'open', after: 7, inMillis: 250 })
})

test('what the browser repairs is left to it, and shown', () => {
  const [state, todo] = follow({ phase: 'live', position: 7, attempts: 0 }, { kind: 'failed', closed: false })
  deepEqual([state.phase, state.position, todo.kind], ['lost', 7, 'nothing'])
})

test('each failure waits longer, up to ten seconds, and what works begins anew', () => {
  let state: Following = { phase: 'live', position: 7, attempts: 0 }
  const waits: number[] = []
  for (let tries = 0; tries < 6; tries += 1) {
    const [next, todo] = follow(state, { kind: 'failed', closed: true })
    state = next
    if (todo.kind === 'open') waits.push(todo.inMillis)
  }
  deepEqual(waits, [250, 1000, 2000, 5000, 10000, 10000])
  deepEqual(follow(state, { kind: 'ready', position: 7 })[0], { phase: 'live', position: 7, attempts: 0 })
  equal(wait(99), 10000)
})

const lost: Following = { phase: 'lost', position: 700, attempts: 2 }

test('a log that ends before what was heard is another one', () => {
  const [state, todo] = follow(lost, { kind: 'bounds', first: 1, head: 12 })
  deepEqual([state.position, todo.kind], [12, 'begin anew'])
})

test('a log of which what follows on what was heard was pruned is begun anew', () => {
  const [state, todo] = follow(lost, { kind: 'bounds', first: 702, head: 900 })
  deepEqual([state.position, todo.kind], [900, 'begin anew'])
})

test('a log that goes on after what was heard is followed from there', () => {
  for (const [first, head] of [[1, 700], [1, 900], [701, 900]] as const) {
    deepEqual(follow(lost, { kind: 'bounds', first, head }), [lost, { kind: 'connect' }])
  }
  deepEqual(follow(START, { kind: 'bounds', first: 40, head: 90 }), [START, { kind: 'connect' }])
})
