// The event list: what was recorded around the moment that is shown, or last; of the whole log or of one VM.

import { computed, effect, signal, untracked } from '@preact/signals'
import type { Fact, Page } from '../wire.ts'
import { ask, to } from './ask.ts'
import { tell } from './fleet.ts'
import { written } from './moment.ts'
import { Ring } from './ring.ts'
import { go, head, place } from './state.ts'
import { read } from './time.ts'

export interface Item {
  position: number
  at: number
  recorded: number
  kind: string
  what: string
  host: string | null
  instance: string | null
  /** How many equal observations it stands for. */
  count: number
}

interface Line extends Fact { count?: number }

const KEPT = 2000
const BEFORE = 200
const AFTER = 60

const ring = new Ring<Item>(KEPT)
const heardItems = signal<readonly Item[]>([])
/** What is around the moment that is shown, and of which VM alone, if of one. */
const around = signal<{ vm: string | null; items: readonly Item[] }>({ vm: null, items: [] })

/** Whether the list is of the chosen VM alone. */
export const narrow = signal(true)
export const ofVm = computed(() => (narrow.value ? place.value.vm : null))

/** In the order of the log. Of a VM that was just chosen, what was heard of it is there until its history has come. */
export const items = computed(() => {
  const vm = ofVm.value
  if (place.value.moment === null && vm === null) return heardItems.value
  return around.value.vm === vm ? around.value.items : heardItems.value.filter((item) => vm === null || item.instance === vm)
})

/** The place in the list of the moment that is shown: of the last item that is not after it. */
export const here = computed(() => {
  const { moment } = place.value
  if (!moment) return items.value.length - 1
  const { position } = moment
  return items.value.findLastIndex((item) => (position !== null ? item.position <= position : item.recorded <= moment.at))
})

function item(line: Line): Item {
  return {
    position: line.position,
    at: read(line.observed_at),
    recorded: read(line.recorded_at ?? line.observed_at),
    kind: line.kind ?? '',
    what: line.what,
    host: line.host,
    instance: line.instance,
    count: line.count ?? 1,
  }
}

/** Facts were heard, in order. */
export function hear(facts: readonly Fact[]): void {
  ring.push(facts.map(item))
  heardItems.value = [...ring.items]
}

/** Begin with what was recorded last. */
export async function loadLatest(): Promise<void> {
  const latest = await ask<Page<Fact>>(to('/v1/events', { until: head.value, limit: BEFORE }))
  ring.clear()
  hear(latest.body.items)
}

let asked: AbortController | null = null

/** Ask for what is around the moment that is shown. */
export async function loadAround(): Promise<void> {
  const { moment } = place.value
  const vm = ofVm.value
  asked?.abort()
  if (!moment && !vm) return
  const { signal: mine } = (asked = new AbortController())
  const then = moment ? written(moment) : null
  try {
    if (vm) {
      const path = `/v1/vms/${vm}/history`
      const [before, after] = await Promise.all([
        ask<Page<Line>>(to(path, { until: then, reverse: true, limit: BEFORE }), mine),
        then ? ask<Page<Line>>(to(path, { since: then, limit: AFTER }), mine) : null,
      ])
      const [old, young] = [before.body.items.reverse(), after?.body.items ?? []]
      const last = old.at(-1)?.position ?? -1
      around.value = { vm, items: [...old, ...young.filter((line) => line.position > last)].map(item) }
    } else {
      const old = (await ask<Page<Fact>>(to('/v1/events', { until: then, limit: BEFORE }), mine)).body.items
      const after = old.at(-1)?.position ?? 0
      const young = (await ask<Page<Fact>>(to('/v1/events', { after, limit: AFTER }), mine)).body.items
      around.value = { vm, items: [...old, ...young].map(item) }
    }
  } catch (error) {
    if (!mine.aborted) {
      around.value = { vm, items: [] }
      tell(error)
    }
  }
}

/** Move to the next event, or (-1) to the one before; behind the last one is now. */
export function step(by: 1 | -1): void {
  const { moment } = place.value
  const list = items.value
  if (!moment && by > 0) return
  // The newest one is what is shown live: the first step back leaves it.
  const next = here.value + by
  const to = list[next]
  // What was heard is there until what is around has come: a second step may be quicker than that.
  if (!moment) around.value = { vm: ofVm.value, items: list }
  if (to) go({ moment: { at: to.recorded, position: to.position } })
  else if (by > 0) go({ moment: null })
}

/** A moment that is a position needs its time. */
export function whenKnown(): void {
  effect(() => {
    const { moment } = place.value
    if (!moment || Number.isFinite(moment.at) || moment.position === null) return
    const wanted = moment.position
    void untracked(async () => {
      const found = await ask<Page<Fact>>(`/v1/events?after=${Math.max(0, wanted - 1)}&limit=1`).catch(() => null)
      const at = read(found?.body.items[0]?.recorded_at)
      if (place.peek().moment?.position !== wanted) return
      go({ moment: Number.isFinite(at) ? { at, position: wanted } : null })
    })
  })
}
