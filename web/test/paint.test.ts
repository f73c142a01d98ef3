import { deepEqual, equal, notEqual } from 'node:assert/strict'
import { test } from 'node:test'
import { Lane } from '../src/lanes/lane.ts'
import { paint, type Scene } from '../src/lanes/paint.ts'
import type { Palette } from '../src/lanes/palette.ts'
import { copy, fade, fill, fillTile, over, Tile, type Pixels } from '../src/lanes/pixels.ts'
import { BY_CODE } from '../src/model/states.ts'

const solid = (colour: number): Tile => new Tile(Uint32Array.of(colour), 1)
const INKS = ['paper', 'chosen', 'line', 'live', 'accent']
const ink = (name: string): number => 0xff000000 + 1000 + INKS.indexOf(name)
const ground = (code: number): number => 0xff000000 + code
const dot = (colour: number): Pixels => ({ data: Uint32Array.of(colour), width: 1, height: 1 })

const palette: Palette = {
  ratio: 1,
  ink,
  tiles: BY_CODE.map(({ code }) => (code ? solid(ground(code)) : null)),
  letters: BY_CODE.map(() => null),
  marks: [0, 1, 2, 3, 4].map((kind) => dot(0xff00aa00 + kind)),
}

function canvas(width: number, height: number): Pixels {
  return { data: new Uint32Array(width * height), width, height }
}

/** A scene of a hundred seconds, a pixel each. */
function scene(lanes: (Lane | undefined)[], more: Partial<Scene> = {}): Scene {
  return {
    view: { since: 0, until: 100_000, width: 100, height: 48, scroll: 0, row: 24, rows: lanes.length },
    lane: (row) => lanes[row], beside: null, ticks: [], chosen: -1, cursor: null, now: 100_000, heard: 100_000, ...more,
  }
}

function drawn(what: Scene): Pixels {
  const pixels = canvas(100, 48)
  paint(pixels, what, palette)
  return pixels
}

const at = ({ data, width }: Pixels, x: number, y: number): number => data[y * width + x]!
const lane = new Lane(Float64Array.of(-50_000, 20_000, 20_100, 60_000), Uint8Array.of(1, 4, 3, 7), 90_000)

test('each second has the colour of what was known of it', () => {
  const pixels = drawn(scene([lane]))
  deepEqual([0, 19, 20, 59, 60, 98].map((x) => at(pixels, x, 12)), [1, 1, 3, 3, 7, 7].map(ground))
  deepEqual([0, 4, 5, 18, 19].map((y) => at(pixels, 5, y)), [ink('paper'), ink('paper'), ground(1), ground(1), ink('paper')])
})

test('a time in which it did not exist is left empty', () => {
  const pixels = drawn(scene([new Lane(Float64Array.of(0, 50_000), Uint8Array.of(0, 1), 90_000)]))
  deepEqual([at(pixels, 49, 12), at(pixels, 50, 12)], [ink('paper'), ground(1)])
})

test('what the page did not hear of is unknown, and what is to come is nothing', () => {
  const running = new Lane(Float64Array.of(0), Uint8Array.of(1), 30_000)
  const pixels = drawn(scene([running], { heard: 40_000, now: 70_000 }))
  deepEqual([39, 40, 69, 71].map((x) => at(pixels, x, 12)), [ground(1), ground(7), ground(7), ink('paper')])
})

test('what came after the moment that is shown is faded', () => {
  const pixels = drawn(scene([lane], { cursor: 50_000 }))
  equal(at(pixels, 40, 12), ground(3))
  equal(at(pixels, 50, 12), ink('accent'))
  notEqual(at(pixels, 55, 12), ground(3))
})

test('a lane beside it stands under it', () => {
  const other = new Lane(Float64Array.of(0), Uint8Array.of(2), 100_000)
  const pixels = drawn(scene([lane], { beside: () => other }))
  deepEqual([13, 14, 15, 20, 21].map((y) => at(pixels, 5, y)), [ground(1), ink('paper'), ground(2), ground(2), ink('paper')])
})

test('marks that would lie on another of their kind are left out, and the rarest is on top', () => {
  const marked = new Lane(Float64Array.of(0), Uint8Array.of(1), 100_000)
  marked.markTimes = Float64Array.of(10_000, 11_000, 12_000, 40_000, 40_000)
  marked.markKinds = Uint8Array.of(0, 0, 2, 2, 1)
  marked.markPositions = Float64Array.of(1, 2, 3, 4, 5)
  const pixels = drawn(scene([marked]))
  const [event, missed] = [0xff00aa00, 0xff00aa02]
  deepEqual([10, 11, 12, 40].map((x) => at(pixels, x, 12)), [event, ground(1), missed, missed])
})

test('rows out of sight are not painted', () => {
  const asked: number[] = []
  const view = { since: 0, until: 100_000, width: 100, height: 48, scroll: 240, row: 24, rows: 5000 }
  drawn(scene([], { view, lane: (row) => { asked.push(row); return undefined } }))
  deepEqual(asked, [10, 11])
})

test('nothing is written beside the canvas', () => {
  const pixels = canvas(10, 4)
  const picture: Pixels = { data: new Uint32Array(25).fill(0xff0000ff), width: 5, height: 5 }
  for (const [x, y] of [[-3, -3], [8, 2], [-9, 0], [20, 0], [0, -9], [0, 9]] as const) copy(pixels, picture, x, y)
  fillTile(pixels, -5, -5, 8, 7, solid(0xff000001))
  fillTile(pixels, 7, 3, 90, 90, solid(0xff000002))
  fill(pixels, 9, 0, 50, 1, 0xff000003)
  fade(pixels, 100, 0xff000000, 128)
  deepEqual([pixels.data.length, at(pixels, 2, 1), at(pixels, 3, 1), at(pixels, 6, 3), at(pixels, 9, 3), at(pixels, 9, 0)],
    [40, 0xff000001, 0, 0, 0xff000002, 0xff000003])
})

test('a pattern stays where it is, however the rectangle lies', () => {
  const tile = new Tile(Uint32Array.of(1, 2, 3, 4), 2)
  for (const x of [0, 1, 2, 5]) {
    const [narrow, wide] = [canvas(64, 4), canvas(64, 4)]
    fillTile(narrow, x, 1, 7, 2, tile)
    fillTile(wide, x, 1, 50, 2, tile)
    for (let each = x; each < x + 7; each += 1) deepEqual([at(narrow, each, 1), at(wide, each, 2)], [3 + (each % 2), 1 + (each % 2)])
  }
})

test('colours lie over one another as everywhere', () => {
  equal(over(0x80ffffff, 0xff000000) & 0xff, 128 * 255 >> 8)
  equal(over(0x00123456, 0xff0a0b0c), 0xff0a0b0c)
  equal(over(0xff123456, 0xff0a0b0c), 0xff123456)
})
