// The fleet of the moment that is shown, asked for anew when the log says that something changed: only what changed
// where that is little, and never sooner than the service can keep up with.

import { batch } from '@preact/signals'
import type { Command, Fact, Host, Page, Vm } from '../wire.ts'
import { ask, askAll, ProblemError, to, UnreachableError } from './ask.ts'
import { outdate } from './lanes.ts'
import { written } from './moment.ts'
import { begin, busy, commands, earliest, fleet, head, heard, hosts, live, notice, now, place, position, then } from './state.ts'
import { setTime } from './ticking.ts'
import { read } from './time.ts'

const FEW = 12
const SOON = 250

let asked: AbortController | null = null

/** Ask for all of it; whoever asks later wins. */
export async function loadFleet(): Promise<void> {
  asked?.abort()
  const mine = (asked = new AbortController())
  busy.value = true
  try {
    const { moment } = place.peek()
    const [vms, seen, planned, last] = await Promise.all([
      askAll<Vm>(to('/v1/vms', { ...then.value, limit: 1000 }), mine.signal),
      askAll<Host>(to('/v1/hosts', { ...then.value, limit: 1000 }), mine.signal),
      askAll<Command>(to('/v1/commands', { ...then.value, limit: 1000 }), mine.signal),
      // An answer about a time is true by what is known now; where the log stood then is told by its last fact.
      moment ? ask<Page<Fact>>(to('/v1/events', { until: written(moment), limit: 1 }), mine.signal) : null,
    ])
    batch(() => {
      fleet.value = vms.body
      hosts.value = seen.body
      commands.value = planned.body
      position.value = last ? (last.body.items[0]?.position ?? 0) : vms.position
      head.value = Math.max(head.value, planned.position)
      notice.value = ''
    })
  } catch (error) {
    if (!mine.signal.aborted) tell(error)
  } finally {
    if (asked === mine) {
      asked = null
      busy.value = false
    }
  }
}

/** Find out when the log begins and what time the service has. */
export async function loadBounds(): Promise<void> {
  const first = await ask<{ items: Fact[] }>('/v1/events?limit=1')
  beginWith(first.body.items[0])
  head.value = first.position
}

/** The log begins with this fact. */
export function beginWith(first: Fact | undefined): void {
  begin.value = read(first?.recorded_at) || now.value
  // One that was pruned refuses to say what was before; when that was is known to the millisecond here.
  earliest.value = begin.value + (first && first.position > 1 ? 1 : -1000)
}

/** Say what went wrong, where a person can do something about it. */
export function tell(error: unknown): void {
  // Whether the service is there is shown all the time, and needs no further words.
  if (error instanceof UnreachableError) return
  if (error instanceof ProblemError && error.status === 401) return
  notice.value = error instanceof Error ? error.message : String(error)
}

const changed = new Set<string>()
let allChanged = false
let commandsChanged = false
let timer: ReturnType<typeof setTimeout> | null = null
let lasted = 0

const OF_COMMANDS = /^(Stop|Approved|Sent|Confirmed|Refused|Failed|Withdrawn|Expired|LookedAgain|Hold|Breaker)/

/** A fact was heard: what it bears on is asked anew, soon. */
export function stir(facts: readonly Fact[]): void {
  for (const fact of facts) {
    if (fact.kind && OF_COMMANDS.test(fact.kind)) commandsChanged = true
    if (fact.instance) changed.add(fact.instance)
    else if (fact.kind === null || fact.host) allChanged = true
  }
  const last = facts.at(-1)
  if (last?.recorded_at) setTime(read(last.recorded_at))
  if (timer === null && (allChanged || commandsChanged || changed.size)) {
    timer = setTimeout(() => void renew(), Math.max(SOON, 2 * lasted))
  }
}

/** Everything is asked anew: the page was away. */
export function stirAll(): void {
  allChanged = commandsChanged = true
  stir([])
}

async function renew(): Promise<void> {
  const [all, some, planned] = [allChanged || changed.size > FEW, [...changed], commandsChanged]
  allChanged = commandsChanged = false
  changed.clear()
  const started = performance.now()
  outdate(all ? null : some)
  try {
    if (!live.value) return
    if (all) await loadFleet()
    else await renewSome(some, planned)
    heard.value = now.value
  } catch (error) {
    if (!(error instanceof ProblemError && error.status === 404)) tell(error)
    allChanged = true
  } finally {
    lasted = performance.now() - started
    timer = null
    if (changed.size || allChanged || commandsChanged) stir([])
  }
}

async function renewSome(instances: readonly string[], planned: boolean): Promise<void> {
  const answers = await Promise.all(instances.map((instance) =>
    ask<{ items: Vm[] }>(`/v1/vms/${instance}`).catch((error: unknown) => {
      if (error instanceof ProblemError && error.status === 404) return null
      throw error
    })))
  const list = planned ? await askAll<Command>('/v1/commands?limit=1000') : null
  if (!live.value) return
  batch(() => {
    let next = fleet.value
    answers.forEach((answer, index) => {
      if (!answer) return
      const items = answer.body.items.filter((vm) => !vm.gone)
      const at = next.findIndex((vm) => vm.instance === instances[index])
      const others = next.filter((vm) => vm.instance !== instances[index])
      next = at >= 0 ? others.toSpliced(at, 0, ...items) : sorted([...others, ...items])
      position.value = Math.max(position.value, answer.position)
    })
    fleet.value = next
    if (list) commands.value = list.body
  })
}

/** The order of /v1: by code points of names. */
function sorted(vms: Vm[]): Vm[] {
  return vms.sort((one, other) => {
    const [a, b] = [one.name ?? '', other.name ?? '']
    return a < b ? -1 : a > b ? 1 : one.instance < other.instance ? -1 : 1
  })
}
