// Small things that several parts show.

import { classOf, lookOf } from '../model/states.ts'
import { clock, stamp, lasting, read } from '../model/time.ts'
import { go, shownAt, utc } from '../model/state.ts'
import { html } from './html.ts'

/** A state: its letter on its colour and pattern, and its word. */
export function StateChip({ state, word = true }: { state: string | null; word?: boolean }) {
  const look = lookOf(state)
  return html`<span class="state">
    <span class="chip ${classOf(state)}" aria-hidden="true">${look.letter}</span>
    ${word ? html`<span class="word">${look.word}</span>` : html`<span class="unseen">${look.word}</span>`}
  </span>`
}

/** A time, as the page shows times, with the whole of it for who points at it. */
export function Time({ at, whole = false }: { at: string | number | null; whole?: boolean }) {
  const millis = typeof at === 'number' ? at : read(at)
  if (!Number.isFinite(millis)) return html`<span class="faint">–</span>`
  const text = whole ? stamp(millis, utc.value) : clock(millis, utc.value)
  return html`<time dateTime=${new Date(millis).toISOString()} title=${typeof at === 'string' ? at : stamp(millis, utc.value, true)}>${text}</time>`
}

/** How long ago something was, at the moment that is shown. */
export function Since({ at }: { at: string | null }) {
  const millis = read(at)
  if (!Number.isFinite(millis)) return html`<span class="faint">–</span>`
  return html`<span title=${at}>${lasting(shownAt.value - millis)}</span>`
}

/** A position of the log; pressing it turns the page into that moment. */
export function Position({ of, at }: { of: number | null; at?: string | number | null }) {
  if (of === null) return html`<span class="faint">–</span>`
  const millis = typeof at === 'number' ? at : read(at)
  const press = (event: Event): void => {
    event.stopPropagation()
    go({ moment: { at: millis, position: of } })
  }
  return html`<button type="button" class="position" title="show the page as of #${of}" onClick=${press}>#${of}</button>`
}

export function Empty({ children }: { children: unknown }) {
  return html`<p class="empty">${children}</p>`
}
