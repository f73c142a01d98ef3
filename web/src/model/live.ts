// The connection to /v1/stream: a browser's EventSource, told by `following` what to do.

import { batch } from '@preact/signals'
import type { Fact, Page } from '../wire.ts'
import { ask, ProblemError } from './ask.ts'
import { hear, loadLatest } from './events.ts'
import { beginWith, loadBounds, stir, stirAll, tell } from './fleet.ts'
import { follow, type Heard } from './following.ts'
import { admit, admitted } from './session.ts'
import { following, head, heard, lostSince } from './state.ts'
import { tick } from './ticking.ts'

let source: EventSource | null = null
let timer: ReturnType<typeof setTimeout> | null = null
let heap: Fact[] = []
let handing: ReturnType<typeof setTimeout> | null = null

/** Follow from after a position on, for as long as the page is open. */
export function followFrom(position: number): void {
  following.value = { ...following.value, position }
  open()
}

function open(): void {
  source?.close()
  const { position } = following.peek()
  const mine = (source = new EventSource(position === null ? '/v1/stream' : `/v1/stream?after=${position}`))
  const on = (kind: string, listen: (event: MessageEvent<string>) => void): void =>
    mine.addEventListener(kind, (event) => { if (source === mine) listen(event as MessageEvent<string>) })
  on('ready', (event) => hearOf({ kind: 'ready', position: Number(event.lastEventId) }))
  on('fact', (event) => {
    if (hearOf({ kind: 'fact', position: Number(event.lastEventId) })) take(JSON.parse(event.data) as Fact)
  })
  on('reset', () => hearOf({ kind: 'reset' }))
  mine.onerror = () => { if (source === mine) hearOf({ kind: 'failed', closed: mine.readyState === EventSource.CLOSED }) }
}

/** Do what the fold says; true where a fact is to be taken. */
function hearOf(what: Heard): boolean {
  const before = following.peek()
  const [state, todo] = follow(before, what)
  if (state.phase !== before.phase) {
    lostSince.value = state.phase === 'live' ? null : (lostSince.peek() ?? heard.peek())
    // What happened meanwhile comes as facts; what passed with time alone does not.
    if (state.phase === 'live' && before.phase === 'lost') stirAll()
  }
  following.value = state
  if (state.phase === 'live') tick()
  if (todo.kind === 'open') {
    source?.close()
    if (timer !== null) clearTimeout(timer)
    timer = setTimeout(() => void again(), todo.inMillis)
  } else if (todo.kind === 'connect') {
    open()
  } else if (todo.kind === 'begin anew') {
    head.value = state.position!
    void loadLatest()
    stirAll()
    open()
  }
  return todo.kind === 'take'
}

/** Come again: let in, and to the log that was followed. */
async function again(): Promise<void> {
  timer = null
  if (!(await admit())) await admitted()
  try {
    const { body, position } = await ask<Page<Fact>>('/v1/events?limit=1')
    const [first] = body.items
    beginWith(first)
    hearOf({ kind: 'bounds', first: first?.position ?? 1, head: position })
  } catch (error) {
    if (error instanceof ProblemError && error.status === 401) return void again()
    hearOf({ kind: 'failed', closed: true })
  }
}

const TOGETHER = 60
const MOST = 2000

/** Facts are handed on together, however many there are; a page in the background, whose timers are slow, still hears. */
function take(fact: Fact): void {
  heap.push(fact)
  if (heap.length >= MOST) return hand()
  handing ??= setTimeout(hand, TOGETHER)
}

function hand(): void {
  if (handing !== null) clearTimeout(handing)
  handing = null
  const facts = heap
  heap = []
  if (!facts.length) return
  batch(() => {
    head.value = facts.at(-1)!.position
    hear(facts)
    stir(facts)
  })
  // The log begins later from then on.
  if (facts.some((fact) => fact.kind === 'LogPruned')) void loadBounds().catch(tell)
}
