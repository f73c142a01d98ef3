// Binary search in what is sorted.

export interface Sorted { readonly length: number; readonly [index: number]: number }

/** How many of the first `count` values are not after `value`: the place after them. */
export function upper(values: Sorted, value: number, count = values.length): number {
  let low = 0
  let high = count
  while (low < high) {
    const middle = (low + high) >>> 1
    if (values[middle]! <= value) low = middle + 1
    else high = middle
  }
  return low
}

/** How many of the first `count` values are before `value`. */
export function lower(values: Sorted, value: number, count = values.length): number {
  let low = 0
  let high = count
  while (low < high) {
    const middle = (low + high) >>> 1
    if (values[middle]! < value) low = middle + 1
    else high = middle
  }
  return low
}
