// Pixels, written by hand. A lane of a busy VM is a hundred small rectangles with patterns, letters and marks; asking the
// canvas for each costs microseconds of its book-keeping, while writing its few hundred pixels costs a fraction of one.

export interface Pixels {
  /** A pixel each, as the canvas has them in memory; rows from the top. */
  data: Uint32Array
  width: number
  height: number
}

/** A pattern that repeats every `size` pixels in both ways, spread to the width of the canvas. */
export class Tile {
  readonly size: number
  readonly #pixels: Uint32Array
  #spread: Uint32Array
  #width = 0

  constructor(pixels: Uint32Array, size: number) {
    this.size = size
    this.#pixels = this.#spread = pixels
  }

  /** Its rows, each as wide as the canvas. */
  rows(width: number): Uint32Array {
    if (this.#width !== width) {
      this.#width = width
      this.#spread = new Uint32Array(width * this.size)
      for (let y = 0; y < this.size; y += 1) {
        for (let x = 0; x < width; x += 1) this.#spread[y * width + x] = this.#pixels[y * this.size + (x % this.size)]!
      }
    }
    return this.#spread
  }
}

const NARROW = 24

/** Fill what is inside of the canvas with a pattern, which stays where it is however the rectangle moves. */
export function fillTile({ data, width, height }: Pixels, x: number, y: number, wide: number, tall: number, tile: Tile): void {
  const rows = tile.rows(width)
  const left = Math.max(0, x)
  const right = Math.min(width, x + wide)
  if (right <= left) return
  for (let row = Math.max(0, y); row < Math.min(height, y + tall); row += 1) {
    const from = (row % tile.size) * width
    const to = row * width
    if (right - left > NARROW) data.set(rows.subarray(from + left, from + right), to + left)
    else for (let at = left; at < right; at += 1) data[to + at] = rows[from + at]!
  }
}

export function fill({ data, width, height }: Pixels, x: number, y: number, wide: number, tall: number, colour: number): void {
  const left = Math.max(0, x)
  const right = Math.min(width, x + wide)
  if (right <= left) return
  for (let row = Math.max(0, y); row < Math.min(height, y + tall); row += 1) data.fill(colour, row * width + left, row * width + right)
}

/** One colour over another, by the alpha of the upper one. */
export function over(upper: number, lower: number, alpha = upper >>> 24): number {
  if (alpha === 0) return lower
  if (alpha === 255) return upper
  const rest = 255 - alpha
  const odd = ((upper & 0xff00ff) * alpha + (lower & 0xff00ff) * rest) >>> 8 & 0xff00ff
  const even = ((upper >>> 8 & 0xff) * alpha + (lower >>> 8 & 0xff) * rest) & 0xff00
  return (0xff000000 | odd | even) >>> 0
}

/** Copy a picture onto it, as far as it is inside. */
export function copy({ data, width, height }: Pixels, picture: Pixels, x: number, y: number): void {
  const left = Math.max(0, -x)
  const right = Math.min(picture.width, width - x)
  for (let row = Math.max(0, -y); row < Math.min(picture.height, height - y); row += 1) {
    const from = row * picture.width
    const to = (y + row) * width + x
    for (let at = left; at < right; at += 1) {
      const upper = picture.data[from + at]!
      if (upper >>> 24) data[to + at] = over(upper, data[to + at]!)
    }
  }
}

/** Let what is right of a place fade into a colour. */
export function fade({ data, width, height }: Pixels, x: number, colour: number, alpha: number): void {
  for (let row = 0; row < height; row += 1) {
    for (let at = row * width + Math.max(0, x); at < (row + 1) * width; at += 1) data[at] = over(colour, data[at]!, alpha)
  }
}
