// One VM over time as arrays of numbers: no object for a segment, so that a fleet of thousands is held in a few
// megabytes and painted without work for the collector.

import { lower, upper } from '../model/search.ts'
import { ABSENT, BY_CODE, codeOf, MIXED } from '../model/states.ts'
import { read } from '../model/time.ts'
import type { Mark, Segment } from '../wire.ts'

export const MARKS = ['event', 'observation', 'missed', 'stale', 'command'] as const

export class Lane {
  /** When each segment begins; it lasts until the next one does. */
  readonly times: Float64Array
  readonly codes: Uint8Array
  /** Until when it was told. */
  readonly until: number
  /** Why nobody can say, by the segment's index. */
  readonly whys: ReadonlyMap<number, string>
  /** Whether something was left out that a closer look would show. */
  isCoarse: boolean
  markTimes: Float64Array = NONE
  markKinds: Uint8Array = NO_KINDS
  markPositions: Float64Array = NONE
  markWords: readonly string[] = []

  constructor(times: Float64Array, codes: Uint8Array, until: number, whys: ReadonlyMap<number, string> = NO_WHYS) {
    this.times = times
    this.codes = codes
    this.until = until
    this.whys = whys
    this.isCoarse = codes.includes(MIXED)
  }

  /** Take what /v1/timeline said of one VM: segments in order, none left out. */
  static of(segments: readonly Segment[]): Lane {
    const times = new Float64Array(segments.length)
    const codes = new Uint8Array(segments.length)
    const whys = new Map<number, string>()
    segments.forEach((segment, index) => {
      times[index] = read(segment.since)
      codes[index] = codeOf(segment.power_state)
      if (segment.why_unknown) whys.set(index, segment.why_unknown)
    })
    return new Lane(times, codes, read(segments.at(-1)?.until), whys)
  }

  /** Take what /v1/marks said of it, in order; of those of a kind that are nearer than so many milliseconds, the first. */
  mark(marks: readonly Mark[], apart = 0): void {
    const kindOf = (each: Mark): number => Math.max(0, MARKS.indexOf(each.kind))
    const last = MARKS.map(() => -Infinity)
    const kept = marks.filter((each) => {
      const [kind, at] = [kindOf(each), read(each.at)]
      if (at - last[kind]! < apart) return false
      last[kind] = at
      return true
    })
    this.isCoarse ||= kept.length < marks.length
    this.markTimes = Float64Array.from(kept, (each) => read(each.at))
    this.markKinds = Uint8Array.from(kept, kindOf)
    this.markPositions = Float64Array.from(kept, (each) => each.position)
    this.markWords = kept.map((each) => each.what)
  }

  /** The segment in which a time lies; -1 before the first. */
  at(time: number): number {
    return upper(this.times, time) - 1
  }

  codeAt(time: number): number {
    const index = this.at(time)
    return index < 0 ? ABSENT : this.codes[index]!
  }

  whyAt(time: number): string {
    return this.whys.get(this.at(time)) ?? ''
  }

  /** The mark nearest to a time, within some milliseconds; -1 for none. */
  markNear(time: number, within: number): number {
    const next = lower(this.markTimes, time)
    const near = [next - 1, next].filter((each) => each >= 0 && each < this.markTimes.length)
    const distance = (each: number): number => Math.abs(this.markTimes[each]! - time)
    const best = near.reduce((one, other) => (one < 0 || distance(other) < distance(one) ? other : one), -1)
    return best >= 0 && distance(best) <= within ? best : -1
  }

  /** How long each state lasted between two times: what a reader hears in the place of the drawing. */
  sums(since: number, until: number): Map<string, number> {
    const found = new Map<string, number>()
    for (let index = Math.max(0, this.at(since)); index < this.times.length; index += 1) {
      const begin = Math.max(since, this.times[index]!)
      const end = Math.min(until, index + 1 < this.times.length ? this.times[index + 1]! : until)
      if (this.times[index]! >= until) break
      const word = BY_CODE[this.codes[index]!]!.word
      if (end > begin) found.set(word, (found.get(word) ?? 0) + end - begin)
    }
    return found
  }
}

const NONE = new Float64Array(0)
const NO_KINDS = new Uint8Array(0)
const NO_WHYS: ReadonlyMap<number, string> = new Map()
