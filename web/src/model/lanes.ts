// The lanes at hand: asked for when their rows come into sight, asked anew when their VM changed, and let go when there
// are too many. A lane is asked for a little more time than is shown, and coarser than pixels never.

import { signal } from '@preact/signals'
import { Lane } from '../lanes/lane.ts'
import { around, type Span } from '../lanes/view.ts'
import type { Mark, Page, Segment } from '../wire.ts'
import { ask, askAll, to } from './ask.ts'
import { rfc3339 } from './time.ts'
import { begin, earliest, live, now, place } from './state.ts'
import { written } from './moment.ts'

interface Held { lane: Lane; span: Span; asked: number; stale: boolean }

const AT_ONCE = 50
const MOST = 3000
const BUCKETS = 1000
/** A state that nothing is heard of is unknown after a while: only the service knows when. */
const AGES = 30_000

/** Counts what changed, for whoever draws. */
export const drawn = signal(0)

/** The lanes of all VMs that were looked at. */
class Shelf {
  #held = new Map<string, Held>()
  #asking = new Set<string>()
  #knownAt = ''
  readonly #lastReportWins: boolean

  constructor(lastReportWins: boolean) {
    this.#lastReportWins = lastReportWins
  }

  lane(instance: string): Lane | undefined {
    return this.#held.get(instance)?.lane
  }

  /** These VMs changed; null: all. */
  outdate(instances: Iterable<string> | null): void {
    for (const instance of instances ?? this.#held.keys()) {
      const each = this.#held.get(instance)
      if (each) each.stale = true
    }
  }

  /** Have the lanes of what is in sight. */
  async want(instances: readonly string[], span: Span): Promise<void> {
    const { moment, knownThen } = place.value
    const known = moment && knownThen ? written(moment) : ''
    if (known !== this.#knownAt) {
      this.#knownAt = known
      this.outdate(null)
    }
    const wanted = instances.filter((instance) => !this.#asking.has(instance) && !suffices(this.#held.get(instance), span))
    for (let first = 0; first < wanted.length; first += AT_ONCE) await this.#load(wanted.slice(first, first + AT_ONCE), span)
    this.#trim(instances)
  }

  /** Have a lane that was made elsewhere. */
  hold(instance: string, lane: Lane, span: Span, asked: number): void {
    this.#held.delete(instance) // so that it is the newest
    this.#held.set(instance, { lane, span, asked, stale: false })
  }

  async #load(instances: readonly string[], span: Span): Promise<void> {
    const time = now.value
    const { since, until } = around(span, earliest.value)
    if (since >= until) {
      // All of it was before the log begins: there is nothing to ask for.
      for (const instance of instances) this.hold(instance, Lane.of([]), { since: span.since, until }, time)
      drawn.value += 1
      return
    }
    if (since >= time || !instances.length) return
    const query = {
      vms: instances.join(','),
      since: rfc3339(since),
      until: until < time ? rfc3339(until) : null,
      known_at: this.#knownAt || null,
      limit: 1000,
    }
    for (const instance of instances) this.#asking.add(instance)
    try {
      const [segments, marks] = await Promise.all([
        ask<Page<Segment>>(to('/v1/timeline', { ...query, buckets: BUCKETS, last_report_wins: this.#lastReportWins })),
        this.#lastReportWins ? { body: [] } : askAll<Mark>(to('/v1/marks', query)),
      ])
      const marksOf = Map.groupBy(marks.body, (each) => each.instance)
      const segmentsOf = Map.groupBy(segments.body.items, (each) => each.instance)
      const asked = Math.min(until, time)
      for (const instance of instances) {
        const lane = Lane.of(segmentsOf.get(instance) ?? [])
        lane.mark(marksOf.get(instance) ?? [], (until - since) / (4 * BUCKETS))
        this.hold(instance, lane, { since, until: asked }, time)
      }
    } finally {
      for (const instance of instances) this.#asking.delete(instance)
    }
    drawn.value += 1
  }

  #trim(seen: readonly string[]): void {
    const kept = new Set(seen)
    for (const instance of this.#held.keys()) {
      if (this.#held.size <= MOST) return
      if (!kept.has(instance)) this.#held.delete(instance)
    }
  }
}

/** What is known, and beside it what a sync would have had for true in which the last report wins. */
export const known = new Shelf(false)
export const lastReport = new Shelf(true)

export function outdate(instances: readonly string[] | null): void {
  known.outdate(instances)
  lastReport.outdate(instances)
}

function suffices(each: Held | undefined, span: Span): boolean {
  if (!each || each.stale) return false
  if (live.value && now.value - each.asked > AGES && span.until >= each.asked) return false
  const early = Math.max(span.since, begin.value ?? 0)
  const covers = each.span.since <= early + 1 && each.span.until >= Math.min(span.until, each.asked)
  return covers && (!each.lane.isCoarse || each.span.until - each.span.since <= 4 * (span.until - span.since))
}
