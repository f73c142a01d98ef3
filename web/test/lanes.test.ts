import { deepEqual, equal, ok } from 'node:assert/strict'
import { test } from 'node:test'
import { Lane } from '../src/lanes/lane.ts'
import { around, panned, rowAt, shownRows, SHORTEST, timeAt, xOf, zoomed, type View } from '../src/lanes/view.ts'
import { lower, upper } from '../src/model/search.ts'
import type { Segment } from '../src/wire.ts'

const NOON = Date.parse('2026-11-22T12:00:00Z')
const at = (seconds: number): string => new Date(NOON + seconds * 1000).toISOString()

function segment(since: number, until: number, power_state: Segment['power_state'], why: string | null = null): Segment {
  return { instance: 'a', since: at(since), until: at(until), power_state, why_unknown: why, host: 'kvm-07', seconds: until - since }
}

const lane = Lane.of([
  segment(0, 10, null), segment(10, 40, 'RUNNING'), segment(40, 55, 'UNKNOWN', 'connection lost'), segment(55, 60, 'SHUTDOWN'),
])

const view: View = { since: NOON, until: NOON + 60_000, width: 600, height: 100, scroll: 36, row: 24, rows: 50 }

test('a search finds what a walk finds', () => {
  const values = [1, 3, 3, 3, 8]
  for (let value = 0; value < 10; value += 1) {
    equal(upper(values, value), values.filter((each) => each <= value).length)
    equal(lower(values, value), values.filter((each) => each < value).length)
  }
  equal(upper([], 5), 0)
  equal(upper(values, 9, 2), 2)
})

test('a lane tells the state of any time, and why nobody can', () => {
  deepEqual([0, 9.999, 10, 39, 40, 54, 55, 59].map((each) => lane.codeAt(NOON + each * 1000)), [0, 0, 1, 1, 7, 7, 3, 3])
  equal(lane.codeAt(NOON - 1), 0)
  deepEqual([39, 40, 54, 55].map((each) => lane.whyAt(NOON + each * 1000)), ['', 'connection lost', 'connection lost', ''])
})

test('its last state goes on until something else is heard', () => {
  equal(lane.codeAt(NOON + 600_000), 3)
  deepEqual([...lane.sums(NOON + 50_000, NOON + 70_000)], [['unknown', 5000], ['shut off', 15_000]])
})

test('its sums leave out nothing', () => {
  for (const [since, until] of [[0, 60], [5, 45], [12, 13], [-20, 80]] as const) {
    const sums = lane.sums(NOON + since * 1000, NOON + until * 1000)
    equal([...sums.values()].reduce((one, other) => one + other, 0), (until - Math.max(0, since)) * 1000)
  }
})

test('a lane of nothing is nothing', () => {
  const nothing = Lane.of([])
  equal(nothing.codeAt(NOON), 0)
  equal(nothing.markNear(NOON, 1e9), -1)
  equal(nothing.sums(NOON, NOON + 1).size, 0)
})

test('the mark under a pointer is the nearest one', () => {
  const marked = Lane.of([segment(0, 60, 'RUNNING')])
  marked.mark([0, 20, 21].map((each) => ({ instance: 'a', at: at(each), kind: 'event', position: each, what: '' })))
  equal(marked.markNear(NOON + 20_400, 1000), 1)
  equal(marked.markNear(NOON + 20_600, 1000), 2)
  equal(marked.markNear(NOON + 10_000, 1000), -1)
})

test('marks that nobody could tell apart are held once, and what is rare beside them stays', () => {
  const busy = Lane.of([segment(0, 60, 'RUNNING')])
  const marks = Array.from({ length: 1000 }, (_, index) => ({
    instance: 'a', at: at(index / 100), kind: index === 555 ? 'missed' as const : 'event' as const, position: index, what: '',
  }))
  busy.mark(marks, 1000)
  equal(busy.markTimes.length, 11)
  equal(busy.markKinds.includes(2), true)
  equal(busy.isCoarse, true)
})

test('times and pixels are one another, there and back', () => {
  for (const x of [0, 1, 299.5, 600]) equal(Math.round(xOf(view, timeAt(view, x)) * 1000) / 1000, x)
})

test('rows in sight are those that can be seen, and no more', () => {
  deepEqual(shownRows(view), [1, 6])
  deepEqual(shownRows({ ...view, scroll: 50 * 24 - 100 }), [45, 50])
  deepEqual(shownRows({ ...view, rows: 0 }), [0, 0].map((_, index) => (index ? 0 : 1)))
  equal(rowAt(view, 0), 1)
  equal(rowAt({ ...view, rows: 2 }, 90), -1)
})

test('more is asked for than is shown, and nothing of before the earliest time', () => {
  deepEqual(around({ since: 100, until: 200 }, 0), { since: 50, until: 250 })
  deepEqual(around({ since: 100, until: 200 }, 80), { since: 80, until: 250 })
  deepEqual(around({ since: 100, until: 200 }, 1000), { since: 1000, until: 250 })
})

test('zooming leaves the time under the pointer where it is', () => {
  for (const factor of [0.1, 0.5, 2, 30]) {
    const next = zoomed(view, factor, timeAt(view, 150))
    ok(Math.abs(xOf({ ...view, ...next }, timeAt(view, 150)) - 150) < 1e-6)
  }
  const nearest = zoomed(view, 1e-9, NOON)
  equal(nearest.until - nearest.since, SHORTEST)
  deepEqual(panned({ since: 5, until: 7 }, -2), { since: 3, until: 5 })
})
