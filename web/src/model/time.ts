// Times: what /v1 sends is read to milliseconds, drawn and spoken; an axis has ticks where people expect them.

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** Milliseconds of an RFC 3339 time; NaN for none. */
export function read(text: string | null | undefined): number {
  return text ? Date.parse(text) : NaN
}

const two = (value: number): string => (value < 10 ? `0${value}` : `${value}`)

/** A time's parts in UTC or in this browser's zone. */
function parts(at: number, utc: boolean): [number, number, number, number, number, number, number] {
  const date = new Date(utc ? at : at - new Date(at).getTimezoneOffset() * MINUTE)
  return [
    date.getUTCFullYear(), date.getUTCMonth() + 1, date.getUTCDate(),
    date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds(), date.getUTCMilliseconds(),
  ]
}

export function clock(at: number, utc: boolean, millis = false): string {
  if (!Number.isFinite(at)) return '–'
  const [, , , hour, minute, second, milli] = parts(at, utc)
  return `${two(hour)}:${two(minute)}:${two(second)}${millis ? `.${String(milli).padStart(3, '0')}` : ''}`
}

export function day(at: number, utc: boolean): string {
  const [year, month, date] = parts(at, utc)
  return `${year}-${two(month)}-${two(date)}`
}

export function stamp(at: number, utc: boolean, millis = false): string {
  return Number.isFinite(at) ? `${day(at, utc)} ${clock(at, utc, millis)}` : '–'
}

/** What the zone of shown times is called. */
export function zoneName(at: number, utc: boolean): string {
  const minutes = utc ? 0 : -new Date(at).getTimezoneOffset()
  if (minutes === 0) return 'UTC'
  const size = Math.abs(minutes)
  return `UTC${minutes < 0 ? '−' : '+'}${Math.floor(size / 60)}${size % 60 ? `:${two(size % 60)}` : ''}`
}

/** How long something lasted, in its two largest units. */
export function lasting(millis: number): string {
  if (!Number.isFinite(millis)) return '–'
  const seconds = Math.max(0, Math.floor(millis / SECOND))
  if (seconds < 60) return `${seconds}s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return seconds % 60 && minutes < 10 ? `${minutes}m ${seconds % 60}s` : `${minutes}m`
  const hours = Math.floor(minutes / 60)
  if (hours < 24) return minutes % 60 ? `${hours}h ${minutes % 60}m` : `${hours}h`
  return hours % 24 ? `${Math.floor(hours / 24)}d ${hours % 24}h` : `${hours / 24}d`
}

const STEPS = [
  1, 2, 5, 10, 20, 50, 100, 200, 500,
  SECOND, 2 * SECOND, 5 * SECOND, 10 * SECOND, 15 * SECOND, 30 * SECOND,
  MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE,
  HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR,
  DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY, 91 * DAY, 364 * DAY,
]

export interface Tick { at: number; label: string }

/** Ticks between two times, at most `most` of them, on round times of the zone that is shown. */
export function ticks(since: number, until: number, most: number, utc: boolean): Tick[] {
  const step = STEPS.find((each) => (until - since) / each <= most) ?? STEPS[STEPS.length - 1]!
  const shift = utc ? 0 : -new Date(since).getTimezoneOffset() * MINUTE
  const found: Tick[] = []
  let last = ''
  for (let at = Math.ceil((since + shift) / step) * step - shift; at <= until && found.length <= most; at += step) {
    const date = day(at, utc)
    const time = clock(at, utc, step < SECOND)
    const label = step >= DAY ? date : `${date !== last && last ? `${date} ` : ''}${step >= MINUTE ? time.slice(0, 5) : time}`
    last = date
    found.push({ at, label })
  }
  return found
}

/** RFC 3339 in UTC, as a URL carries it. */
export function rfc3339(at: number): string {
  return new Date(at).toISOString()
}
