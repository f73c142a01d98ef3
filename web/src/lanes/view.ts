// Where things are on the canvas: times across, VMs down. Pure, in CSS pixels.

export interface View {
  since: number
  until: number
  width: number
  height: number
  /** Pixels of the list that are above the canvas. */
  scroll: number
  row: number
  rows: number
}

export const SHORTEST = 2_000
export const LONGEST = 400 * 86_400_000

export function xOf(view: View, at: number): number {
  return ((at - view.since) / (view.until - view.since)) * view.width
}

export function timeAt(view: View, x: number): number {
  return view.since + (x / view.width) * (view.until - view.since)
}

/** The row at a height of the canvas; -1 for none. */
export function rowAt(view: View, y: number): number {
  const row = Math.floor((y + view.scroll) / view.row)
  return row >= 0 && row < view.rows ? row : -1
}

/** The first row that can be seen, and the one after the last. */
export function shownRows(view: Pick<View, 'scroll' | 'height' | 'row' | 'rows'>, more = 0): [number, number] {
  const first = Math.max(0, Math.floor(view.scroll / view.row) - more)
  return [first, Math.min(view.rows, Math.ceil((view.scroll + view.height) / view.row) + more)]
}

export interface Span { since: number; until: number }

/** What is asked for so that a time can be shown: half as much on either side of it, and nothing of before the earliest. */
export function around(span: Span, earliest: number): Span {
  const more = (span.until - span.since) / 2
  return { since: Math.max(span.since - more, earliest), until: span.until + more }
}

/** Nearer (factor below 1) or farther, around a time that stays where it is. */
export function zoomed(span: Span, factor: number, around: number): Span {
  const length = Math.min(LONGEST, Math.max(SHORTEST, (span.until - span.since) * factor))
  const share = (around - span.since) / (span.until - span.since)
  const since = around - length * share
  return { since, until: since + length }
}

export function panned(span: Span, millis: number): Span {
  return { since: span.since + millis, until: span.until + millis }
}
