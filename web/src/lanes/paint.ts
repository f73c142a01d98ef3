// Painting lanes: what can be seen, and nothing else; in device pixels, so that nothing is blurred.

import { ABSENT, UNKNOWN } from '../model/states.ts'
import { lower } from '../model/search.ts'
import type { Tick } from '../model/time.ts'
import { type Lane } from './lane.ts'
import { LETTER, MARK, type Palette } from './palette.ts'
import { copy, fade, fill, fillTile, type Pixels } from './pixels.ts'
import { shownRows, xOf, type View } from './view.ts'

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

/** How tall a lane is, alone and with another one beside it, and that one. */
const LANE = 14
const UPPER = 11
const LOWER = 6
/** Pixels between two marks of a kind, at least. */
const APART = 3
/** How much of what was not yet is faded. */
const FADED = 153

export function paint(pixels: Pixels, scene: Scene, palette: Palette): void {
  const { view, beside } = scene
  const scaled = (size: number): number => Math.round(size * palette.ratio)
  const { width, height } = pixels
  fill(pixels, 0, 0, width, height, palette.ink('paper'))
  const [first, last] = shownRows(view)
  if (scene.chosen >= first && scene.chosen < last) {
    fill(pixels, 0, scaled(scene.chosen * view.row - view.scroll), width, scaled(view.row), palette.ink('chosen'))
  }
  for (const tick of scene.ticks) fill(pixels, scaled(xOf(view, tick.at)), 0, 1, height, palette.ink('line'))
  const tall = scaled(beside ? UPPER : LANE)
  const down = scaled((view.row - (beside ? UPPER + LOWER + 1 : LANE)) / 2)
  for (let row = first; row < last; row += 1) {
    const lane = scene.lane(row)
    const y = scaled(row * view.row - view.scroll) + down
    const other = beside?.(row)
    if (other) segments(pixels, other, scene, palette, y + tall + 1, scaled(LOWER), false)
    if (!lane) continue
    segments(pixels, lane, scene, palette, y, tall, true)
    marks(pixels, lane, scene, palette, y + (tall >> 1))
  }
  cursor(pixels, scene, palette)
}

/** One lane: many segments that share a pixel are as the first of them. */
function segments(
  pixels: Pixels, lane: Lane, { view, now, heard }: Scene, palette: Palette, y: number, tall: number, withLetters: boolean,
): void {
  const { times, codes } = lane
  const count = times.length
  if (!count) return
  const { width } = pixels
  const scale = width / (view.until - view.since)
  // A state holds until something else is heard: up to now while the page hears, and up to where it last did.
  const told = Math.max(lane.until, heard)
  const end = Math.min(now, view.until)
  const size = Math.round(LETTER * palette.ratio)
  // What begins a state has a mark at its beginning; the letter stands beside it where there is room.
  const aside = Math.round((MARK / 2) * palette.ratio)
  const part = (code: number, from: number, to: number): void => {
    const tile = palette.tiles[code]
    if (code === ABSENT || !tile) return
    fillTile(pixels, from, y, to - from, tall, tile)
    const letter = palette.letters[code]
    if (!letter || !withLetters || to - from <= size + 2) return
    copy(pixels, letter, from + (to - from > size + aside ? aside : 2), y + ((tall - size) >> 1))
  }
  let index = Math.max(0, lane.at(view.since))
  let from = Math.max(0, Math.round((times[index]! - view.since) * scale))
  for (; index < count && from < width; index += 1) {
    const until = index + 1 < count ? times[index + 1]! : Math.min(told, end)
    const to = Math.min(width, Math.round((until - view.since) * scale))
    if (to <= from) continue
    part(codes[index]!, from, to)
    from = to
  }
  if (told < end) part(UNKNOWN, Math.max(0, Math.round((told - view.since) * scale)), Math.round((end - view.since) * scale))
}

/** Marks, of which those that would lie on another of their kind are left out; what is rare is painted last. */
function marks(pixels: Pixels, lane: Lane, { view }: Scene, palette: Palette, middle: number): void {
  const begin = lower(lane.markTimes, view.since)
  const end = lower(lane.markTimes, view.until)
  if (begin === end) return
  const scale = pixels.width / (view.until - view.since)
  const apart = APART * palette.ratio
  for (const kind of [1, 0, 4, 3, 2]) {
    const picture = palette.marks[kind]!
    const half = picture.width >> 1
    let last = -Infinity
    for (let at = begin; at < end; at += 1) {
      if (lane.markKinds[at] !== kind) continue
      const x = Math.round((lane.markTimes[at]! - view.since) * scale)
      if (x - last <= apart) continue
      last = x
      copy(pixels, picture, x - half, middle - half)
    }
  }
}

/** The moment that is shown; what came after it is faded. */
function cursor(pixels: Pixels, { view, cursor, now }: Scene, palette: Palette): void {
  const x = Math.round(xOf(view, cursor ?? now) * palette.ratio)
  if (cursor !== null) fade(pixels, x, palette.ink('paper'), FADED)
  const wide = Math.max(1, Math.round((cursor === null ? 1 : 2) * palette.ratio))
  fill(pixels, x - (wide >> 1), 0, wide, pixels.height, palette.ink(cursor === null ? 'live' : 'accent'))
}
