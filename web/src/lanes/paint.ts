// Painting lanes: what can be seen, and nothing else. Rectangles are gathered by state and then filled state by state,
// since changing what to fill with is dearer than filling; all are on whole device pixels, so that nothing is blended.

import { ABSENT, BY_CODE, UNKNOWN } from '../model/states.ts'
import { lower } from '../model/search.ts'
import { type Lane } from './lane.ts'
import { LETTER, MARK, type Palette } from './palette.ts'
import { shownRows, xOf, type View } from './view.ts'
import type { Tick } from '../model/time.ts'

export interface Scene {
  view: View
  lane: (row: number) => Lane | undefined
  /** What is shown in small under each lane; null: nothing is. */
  beside: ((row: number) => Lane | undefined) | null
  ticks: readonly Tick[]
  /** The row that is looked at; -1 for none. */
  chosen: number
  /** The moment that the page shows; null: now. */
  cursor: number | null
  now: number
  /** Until when the page heard of everything; what is after that it did not see. */
  heard: number
}

const LANE = 14
const WITH_BESIDE = 11
const BESIDE = 6
const GAP = 2 // device pixels between marks, at least

class Rects {
  #values = new Int32Array(4096)
  count = 0

  add(x: number, y: number, width: number): void {
    if (this.count + 3 > this.#values.length) {
      const more = new Int32Array(this.#values.length * 2)
      more.set(this.#values)
      this.#values = more
    }
    this.#values[this.count] = x
    this.#values[this.count + 1] = y
    this.#values[this.count + 2] = width
    this.count += 3
  }

  fill(context: CanvasRenderingContext2D, height: number): void {
    const values = this.#values
    for (let at = 0; at < this.count; at += 3) context.fillRect(values[at]!, values[at + 1]!, values[at + 2]!, height)
  }

  letters(context: CanvasRenderingContext2D, picture: HTMLCanvasElement, height: number, ratio: number): void {
    const values = this.#values
    const size = Math.round(LETTER * ratio)
    const down = Math.round((height - size) / 2)
    // What begins a state has a mark at its beginning; the letter stands beside it where there is room.
    const aside = Math.round((MARK / 2) * ratio)
    for (let at = 0; at < this.count; at += 3) {
      const wide = values[at + 2]!
      if (wide > size + 2) context.drawImage(picture, values[at]! + (wide > size + aside ? aside : 2), values[at + 1]! + down)
    }
  }

  clear(): void {
    this.count = 0
  }
}

const rects = BY_CODE.map(() => new Rects())

export function paint(context: CanvasRenderingContext2D, scene: Scene, palette: Palette): void {
  const { view } = scene
  const ratio = palette.ratio
  const width = Math.round(view.width * ratio)
  const height = Math.round(view.height * ratio)
  context.setTransform(1, 0, 0, 1, 0, 0)
  context.fillStyle = palette.colour('paper')
  context.fillRect(0, 0, width, height)
  const [first, last] = shownRows(view)
  if (scene.chosen >= first && scene.chosen < last) {
    context.fillStyle = palette.colour('chosen')
    context.fillRect(0, Math.round((scene.chosen * view.row - view.scroll) * ratio), width, Math.round(view.row * ratio))
  }
  context.fillStyle = palette.colour('line')
  for (const tick of scene.ticks) context.fillRect(Math.round(xOf(view, tick.at) * ratio), 0, 1, height)
  const tall = Math.round((scene.beside ? WITH_BESIDE : LANE) * ratio)
  const small = Math.round(BESIDE * ratio)
  const down = Math.round(((view.row - (scene.beside ? WITH_BESIDE + BESIDE + 1 : LANE)) / 2) * ratio)
  const top = (row: number): number => Math.round((row * view.row - view.scroll) * ratio) + down
  for (let row = first; row < last; row += 1) gather(scene.lane(row), scene, top(row), width)
  fill(context, palette, tall, true)
  if (scene.beside) {
    for (let row = first; row < last; row += 1) gather(scene.beside(row), scene, top(row) + tall + 1, width)
    fill(context, palette, small, false)
  }
  for (let row = first; row < last; row += 1) {
    const lane = scene.lane(row)
    if (lane?.markTimes.length) marks(context, lane, scene, top(row), palette, tall)
  }
  paintCursor(context, scene, palette, width, height)
}

/** Paint what was gathered, and let go of it. */
function fill(context: CanvasRenderingContext2D, palette: Palette, tall: number, withLetters: boolean): void {
  for (let code = ABSENT + 1; code < rects.length; code += 1) {
    const style = palette.fills[code]
    if (style && rects[code]!.count) {
      context.fillStyle = style
      rects[code]!.fill(context, tall)
    }
  }
  for (let code = ABSENT + 1; code < rects.length; code += 1) {
    const picture = palette.letters[code]
    if (picture && withLetters) rects[code]!.letters(context, picture, tall, palette.ratio)
    rects[code]!.clear()
  }
}

/** What of one lane is shown, as rectangles; many that share a pixel are one. */
function gather(lane: Lane | undefined, { view, now, heard }: Scene, y: number, width: number): void {
  if (!lane) return
  const { times, codes } = lane
  const count = times.length
  if (!count) return
  const scale = width / (view.until - view.since)
  // A state holds until something else is heard: up to now while the page hears, and up to where it last did.
  const told = Math.max(lane.until, heard)
  const end = Math.min(now, view.until)
  let index = Math.max(0, lane.at(view.since))
  let from = Math.max(0, Math.round((times[index]! - view.since) * scale))
  for (; index < count && from < width; index += 1) {
    const until = index + 1 < count ? times[index + 1]! : Math.min(told, end)
    const to = Math.min(width, Math.round((until - view.since) * scale))
    if (to > from) {
      rects[codes[index]!]!.add(from, y, to - from)
      from = to
    }
  }
  if (told < end) {
    const x = Math.max(0, Math.round((told - view.since) * scale))
    rects[UNKNOWN]!.add(x, y, Math.max(0, Math.round((end - view.since) * scale) - x))
  }
}

/** Marks, of which those that would lie on another of their kind are left out; what is rare is painted last. */
function marks(
  context: CanvasRenderingContext2D, lane: Lane, { view }: Scene, y: number, palette: Palette, tall: number,
): void {
  const ratio = palette.ratio
  const size = Math.round(MARK * ratio)
  const down = y + Math.round((tall - size) / 2)
  const begin = lower(lane.markTimes, view.since)
  const end = lower(lane.markTimes, view.until)
  for (const kind of [1, 0, 4, 3, 2]) {
    let last = -Infinity
    for (let at = begin; at < end; at += 1) {
      if (lane.markKinds[at] !== kind) continue
      const x = Math.round(xOf(view, lane.markTimes[at]!) * ratio)
      if (x - last <= GAP) continue
      last = x
      context.drawImage(palette.marks[kind]!, x - (size >> 1), down)
    }
  }
}

function paintCursor(
  context: CanvasRenderingContext2D, scene: Scene, palette: Palette, width: number, height: number,
): void {
  const { view, cursor, now } = scene
  const line = (at: number, colour: string, wide: number): void => {
    const x = Math.round(xOf(view, at) * palette.ratio)
    context.fillStyle = colour
    context.fillRect(x - (wide >> 1), 0, wide, height)
  }
  if (cursor === null) return line(now, palette.colour('live'), Math.max(1, Math.round(palette.ratio)))
  const x = Math.round(xOf(view, cursor) * palette.ratio)
  if (x < width) {
    context.globalAlpha = 0.6
    context.fillStyle = palette.colour('paper')
    context.fillRect(Math.max(0, x), 0, width, height)
    context.globalAlpha = 1
  }
  line(cursor, palette.colour('accent'), Math.max(2, Math.round(2 * palette.ratio)))
}
