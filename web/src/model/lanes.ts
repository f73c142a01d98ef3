// The lanes at hand: asked for when their rows come into sight, asked anew when their VM changed, and let go when there
// are too many. A lane is asked for a little more time than is shown, and coarser than pixels never.

import { signal } from '@preact/signals'
import { Lane } from '../lanes/lane.ts'
import type { Span } from '../lanes/view.ts'
import type { Mark, Segment } from '../wire.ts'
import { ask, to } from './ask.ts'
import { rfc3339 } from './time.ts'
import { begin, live, now, place } from './state.ts'
import { written } from './moment.ts'
import type { Page } from '../wire.ts'

interface Held { lane: Lane; span: Span; asked: number; stale: boolean }

const AT_ONCE = 50
const MOST = 3000
const BUCKETS = 1000
/** A state that nothing is heard of is unknown after a while: only the service knows when. */
const AGES = 30_000

const held = new Map<string, Held>()
const asking = new Set<string>()
let knownAt = ''

/** Counts what changed, for whoever draws. */
export const drawn = signal(0)

export const laneOf = (instance: string): Lane | undefined => held.get(instance)?.lane

/** These VMs changed; null: all. */
export function outdate(instances: Iterable<string> | null): void {
  for (const instance of instances ?? held.keys()) {
    const each = held.get(instance)
    if (each) each.stale = true
  }
}

/** Have the lanes of what is in sight. */
export async function want(instances: readonly string[], span: Span): Promise<void> {
  const { moment, knownThen } = place.value
  const known = moment && knownThen ? written(moment) : ''
  if (known !== knownAt) {
    knownAt = known
    outdate(null)
  }
  const wanted = instances.filter((instance) => !asking.has(instance) && !suffices(held.get(instance), span))
  for (let first = 0; first < wanted.length; first += AT_ONCE) await load(wanted.slice(first, first + AT_ONCE), span)
  trim(instances)
}

function suffices(each: Held | undefined, span: Span): boolean {
  if (!each || each.stale) return false
  if (live.value && now.value - each.asked > AGES && span.until >= each.asked) return false
  const early = Math.max(span.since, begin.value ?? 0)
  const covers = each.span.since <= early + 1 && each.span.until >= Math.min(span.until, each.asked)
  return covers && (!each.lane.isCoarse || each.span.until - each.span.since <= 4 * (span.until - span.since))
}

async function load(instances: readonly string[], span: Span): Promise<void> {
  const time = now.value
  const length = span.until - span.since
  const since = Math.max(span.since - length / 2, Math.min(begin.value ?? 0, span.until - 1) - 1000)
  if (since >= time || !instances.length) return
  const until = span.until + length / 2
  const known = knownAt || null
  const query = { vms: instances.join(','), since: rfc3339(since), until: until < time ? rfc3339(until) : null, known_at: known }
  for (const instance of instances) asking.add(instance)
  try {
    const [segments, marks] = await Promise.all([
      ask<Page<Segment>>(to('/v1/timeline', { ...query, buckets: BUCKETS, limit: 1000 })),
      ask<Page<Mark>>(to('/v1/marks', { ...query, limit: 1000 })).catch(() => null),
    ])
    const asked = Math.min(until, time)
    const marksOf = Map.groupBy(marks?.body.items ?? [], (each) => each.instance)
    const segmentsOf = Map.groupBy(segments.body.items, (each) => each.instance)
    for (const instance of instances) {
      const lane = Lane.of(segmentsOf.get(instance) ?? [])
      lane.mark(marksOf.get(instance) ?? [])
      held.delete(instance) // so that it is the newest
      held.set(instance, { lane, span: { since, until: asked }, asked: time, stale: false })
    }
  } finally {
    for (const instance of instances) asking.delete(instance)
  }
  drawn.value += 1
}

function trim(seen: readonly string[]): void {
  const kept = new Set(seen)
  for (const instance of held.keys()) {
    if (held.size <= MOST) return
    if (!kept.has(instance)) held.delete(instance)
  }
}

/** For measurements: have lanes without asking. */
export function hold(instance: string, lane: Lane, span: Span): void {
  held.set(instance, { lane, span, asked: Infinity, stale: false })
  drawn.value += 1
}
