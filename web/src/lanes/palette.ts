// Colours and patterns, made from the style sheet's own colours: each state is a tile, each letter and each mark a small
// picture. The canvas draws them once; after that they are pixels to copy.

import { BY_CODE, type Pattern } from '../model/states.ts'
import { MARKS } from './lane.ts'
import { Tile, type Pixels } from './pixels.ts'

export interface Palette {
  ratio: number
  tiles: readonly (Tile | null)[]
  letters: readonly (Pixels | null)[]
  marks: readonly Pixels[]
  /** A colour of the style sheet as a pixel. */
  ink: (name: string) => number
}

const TILE = 8

export function makePalette(element: Element, ratio: number): Palette {
  const style = getComputedStyle(element)
  const colour = (name: string): string => style.getPropertyValue(`--${name}`).trim()
  const known = new Map<string, number>()
  const ink = (name: string): number => {
    if (!known.has(name)) known.set(name, tile('plain', colour(name), '', 1).data[0]!)
    return known.get(name)!
  }
  return {
    ratio,
    ink,
    tiles: BY_CODE.map(({ code, pattern }) => {
      if (pattern === 'none') return null
      const { data, width } = tile(pattern, colour(`s${code}`), colour(`p${code}`), ratio)
      return new Tile(data, width)
    }),
    letters: BY_CODE.map((look) => (look.letter ? letter(look.letter, colour(`t${look.code}`), ratio) : null)),
    marks: MARKS.map((kind) => mark(kind, colour, ratio)),
  }
}

type Context = OffscreenCanvasRenderingContext2D

function canvas(width: number, height: number, ratio: number): Context {
  const made = new OffscreenCanvas(Math.round(width * ratio), Math.round(height * ratio))
  const context = made.getContext('2d', { willReadFrequently: true })!
  context.scale(ratio, ratio)
  return context
}

function pixels(context: Context): Pixels {
  const { width, height } = context.canvas
  return { data: new Uint32Array(context.getImageData(0, 0, width, height).data.buffer), width, height }
}

function tile(pattern: Pattern, base: string, ink: string, ratio: number): Pixels {
  const context = canvas(TILE, TILE, ratio)
  context.fillStyle = base
  context.fillRect(0, 0, TILE, TILE)
  context.strokeStyle = context.fillStyle = ink
  context.lineWidth = 1.5
  draw(context, pattern)
  return pixels(context)
}

function draw(context: Context, pattern: Pattern): void {
  const line = (...points: number[]): void => {
    context.beginPath()
    for (let at = 0; at < points.length; at += 4) {
      context.moveTo(points[at]!, points[at + 1]!)
      context.lineTo(points[at + 2]!, points[at + 3]!)
    }
    context.stroke()
  }
  switch (pattern) {
    case 'slants':
      return line(-2, 10, 10, -2, -2, 2, 2, -2, 6, 10, 10, 6)
    case 'hatch':
      context.lineWidth = 2
      return line(-2, -2, 10, 10, -2, 6, 2, 10, 6, -2, 10, 2)
    case 'crosses':
      return line(1, 1, 7, 7, 7, 1, 1, 7)
    case 'bars':
      return line(2, 0, 2, 8, 6, 0, 6, 8)
    case 'dots':
      context.fillRect(1, 1, 2, 2)
      return context.fillRect(5, 5, 2, 2)
    case 'checks':
      context.fillRect(0, 0, 4, 4)
      return context.fillRect(4, 4, 4, 4)
    case 'outline':
      context.lineWidth = 1
      return line(0, 0.5, 8, 0.5, 0, 7.5, 8, 7.5)
    default:
  }
}

export const LETTER = 12

function letter(text: string, ink: string, ratio: number): Pixels {
  const context = canvas(LETTER, LETTER, ratio)
  context.fillStyle = ink
  context.font = '600 10px ui-monospace, "DejaVu Sans Mono", monospace'
  context.textAlign = 'center'
  context.textBaseline = 'middle'
  context.fillText(text, LETTER / 2, LETTER / 2 + 0.5)
  return pixels(context)
}

export const MARK = 11

function mark(kind: (typeof MARKS)[number], colour: (name: string) => string, ratio: number): Pixels {
  const context = canvas(MARK, MARK, ratio)
  const middle = MARK / 2
  context.lineWidth = 1.5
  context.strokeStyle = colour('paper')
  context.beginPath()
  switch (kind) {
    case 'event':
      context.fillStyle = colour('mark')
      context.moveTo(middle, 1.5)
      context.lineTo(MARK - 1.5, middle)
      context.lineTo(middle, MARK - 1.5)
      context.lineTo(1.5, middle)
      context.closePath()
      context.fill()
      context.lineWidth = 1
      context.stroke()
      break
    case 'observation':
    case 'stale':
    case 'missed': {
      const missed = kind === 'missed'
      context.arc(middle, middle, missed ? 4 : 2.5, 0, 7)
      context.lineWidth = missed ? 4 : 3
      context.stroke()
      context.strokeStyle = colour(missed ? 'alarm' : 'mark')
      context.lineWidth = missed ? 2 : 1
      context.stroke()
      if (kind === 'stale') {
        // A ring that is struck out: it was refused.
        context.beginPath()
        context.moveTo(1.5, MARK - 1.5)
        context.lineTo(MARK - 1.5, 1.5)
        context.strokeStyle = colour('alarm')
        context.lineWidth = 1.5
        context.stroke()
      }
      break
    }
    case 'command':
      context.fillStyle = colour('command')
      context.moveTo(middle, MARK - 0.5)
      context.lineTo(MARK - 1, 5)
      context.lineTo(middle + 1.25, 5)
      context.lineTo(middle + 1.25, 0.5)
      context.lineTo(middle - 1.25, 0.5)
      context.lineTo(middle - 1.25, 5)
      context.lineTo(1, 5)
      context.closePath()
      context.lineWidth = 1.5
      context.stroke()
      context.fill()
      break
  }
  return pixels(context)
}
