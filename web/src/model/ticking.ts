// The service's time on this page's clock: they may differ, and what is drawn is in the service's.

import { following, heard, now } from './state.ts'

let ahead = 0

/** The service said that it is this late now, or a moment later. */
export function setTime(at: number): void {
  if (!Number.isFinite(at)) return
  const lead = at - Date.now()
  // An answer is on its way for a while, so what it says is early rather than late.
  if (lead > ahead || Math.abs(lead - ahead) > 5000) ahead = lead
  tick()
}

export function serviceTime(): number {
  return Date.now() + ahead
}

export function tick(): void {
  now.value = serviceTime()
  if (following.value.phase === 'live') heard.value = now.value
}
