// The moment that the page shows: now, a time, or a position of the log, which is a moment to the record.

import { read, rfc3339 } from './time.ts'

export interface Moment {
  /** Milliseconds; of a position the time when it was recorded. */
  at: number
  /** The position, where the moment was named by one. */
  position: number | null
}

/** What `as_of` and the URL carry. */
export function written(moment: Moment): string {
  return moment.position !== null ? String(moment.position) : rfc3339(moment.at)
}

/** Read it again; null for what is neither. A position's time is not known yet: NaN. */
export function readMoment(text: string): Moment | null {
  if (/^\d{1,15}$/.test(text)) return { at: NaN, position: Number(text) }
  const at = read(text)
  return Number.isFinite(at) && /[zZ]$|[+-]\d\d:\d\d$/.test(text) ? { at, position: null } : null
}
