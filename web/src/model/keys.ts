// The keys. One list does it and is what `?` shows, so that neither can lack what the other has.

import { step } from './events.ts'
import { go, help, moved, now, place, rows, shownAt, span, theme, utc, live, type Theme } from './state.ts'
import { panned, zoomed } from '../lanes/view.ts'
import { TABS } from './url.ts'

export interface Key { keys: readonly string[]; shown?: readonly string[]; says: string; does: () => void }

const THEMES: readonly Theme[] = ['auto', 'light', 'dark']

function choose(by: number): void {
  const list = rows.value
  if (!list.length) return
  const at = list.findIndex((vm) => vm.instance === place.value.vm)
  const next = at < 0 ? (by > 0 ? 0 : list.length - 1) : Math.min(list.length - 1, Math.max(0, at + by))
  go({ vm: list[next]!.instance, tab: 'fleet' })
}

function zoom(factor: number): void {
  const { since, until } = span.value
  moved.value = zoomed(span.value, factor, live.value ? now.value : Math.min(until, Math.max(since, shownAt.value)))
}

function pan(share: number): void {
  moved.value = panned(span.value, (span.value.until - span.value.since) * share)
}

export const KEYS: readonly Key[] = [
  { keys: ['ArrowLeft'], shown: ['←'], says: 'one event back', does: () => step(-1) },
  { keys: ['ArrowRight'], shown: ['→'], says: 'one event on', does: () => step(1) },
  { keys: ['l'], says: 'back to now', does: () => { moved.value = null; go({ moment: null }) } },
  { keys: ['ArrowUp', 'k'], shown: ['↑', 'k'], says: 'the VM above', does: () => choose(-1) },
  { keys: ['ArrowDown', 'j'], shown: ['↓', 'j'], says: 'the VM below', does: () => choose(1) },
  { keys: ['PageUp'], shown: ['PgUp'], says: 'twenty VMs up', does: () => choose(-20) },
  { keys: ['PageDown'], shown: ['PgDn'], says: 'twenty VMs down', does: () => choose(20) },
  { keys: ['/'], says: 'filter', does: () => document.querySelector<HTMLInputElement>('#filter')?.focus() },
  { keys: ['+', '='], shown: ['+'], says: 'zoom in', does: () => zoom(0.5) },
  { keys: ['-'], says: 'zoom out', does: () => zoom(2) },
  { keys: ['[', 'Shift+ArrowLeft'], shown: ['['], says: 'pan back', does: () => pan(-0.25) },
  { keys: [']', 'Shift+ArrowRight'], shown: [']'], says: 'pan on', does: () => pan(0.25) },
  { keys: ['0'], says: 'see all', does: () => { moved.value = null; go({ span: null }) } },
  { keys: ['t'], says: 'table or tiles', does: () => go({ tiles: !place.value.tiles, tab: 'fleet' }) },
  { keys: ['w'], says: 'past: as known now, or then', does: () => go({ knownThen: !place.value.knownThen }) },
  { keys: ['r'], says: 'beside it: if the last report won', does: () => go({ beside: !place.value.beside, tab: 'fleet', tiles: false }) },
  ...TABS.map((tab, index) => ({ keys: [String(index + 1)], says: tab, does: () => go({ tab }) })),
  { keys: ['u'], says: 'UTC or local time', does: () => { utc.value = !utc.value } },
  {
    keys: ['d'],
    says: 'colours: as the system has them, light, dark',
    does: () => { theme.value = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length]! },
  },
  { keys: ['?'], says: 'this', does: () => { help.value = !help.value } },
  { keys: ['Escape'], shown: ['Esc'], says: 'let go of the VM, and of the filter', does: () => go({ vm: null, filter: '' }) },
]

/** Do what a key does. */
export function press(name: string): void {
  KEYS.find((each) => each.keys.includes(name))?.does()
}

/** What a pressed key does, where it is not meant for a field or a dialog; one that has just closed may still have the focus. */
export function listen(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return
  const target = event.target as HTMLElement
  if (target.closest('dialog[open], textarea, select')) return
  const field = target.closest('input:not([type=checkbox])')
  if (field) {
    if (event.key === 'Escape') (field as HTMLElement).blur()
    // In the slider arrows step by events too, as everywhere; what is typed in a text field is its own.
    if (!(field as HTMLInputElement).matches('[type=range]')) return
  }
  const name = event.shiftKey && event.key.startsWith('Arrow') ? `Shift+${event.key}` : event.key
  const key = KEYS.find((each) => each.keys.includes(name))
  if (!key) return
  // A list that has the focus is scrolled by its own keys.
  if (/^(Arrow(Up|Down)|Page)/.test(name) && target.closest('.events ol, .scrolls, .panel')) return
  event.preventDefault()
  key.does()
}
