// What the page knows and shows, as signals: parts read them and are drawn again when they change.

import { computed, signal } from '@preact/signals'
import type { Command, Host, Session, Vm } from '../wire.ts'
import { START, type Following } from './following.ts'
import { written } from './moment.ts'
import { fromQuery, type Place } from './url.ts'
import { BY_CODE, codeOf } from './states.ts'
import type { Span } from '../lanes/view.ts'

/** Where the page is: all that its URL carries. */
export const place = signal<Place>(fromQuery(location.search))

export type Admission = { kind: 'asking' } | { kind: 'in'; session: Session } | { kind: 'out'; why: string }
export const admission = signal<Admission>({ kind: 'asking' })
export const role = computed(() => (admission.value.kind === 'in' ? admission.value.session.role : 'read'))

/** How it goes with following the log, and since when it does not. */
export const following = signal<Following>(START)
export const lostSince = signal<number | null>(null)

/** The service's time, in milliseconds; whole seconds, and oftener where that can be seen. */
export const now = signal(Date.now())
/** Until when everything was heard. */
export const heard = signal(Date.now())
/** When the log begins. */
export const begin = signal<number | null>(null)
/** The earliest time that is asked of. */
export const earliest = signal(0)

export const fleet = signal<readonly Vm[]>([])
export const hosts = signal<readonly Host[]>([])
export const commands = signal<readonly Command[]>([])
/** The position that what is shown is true at, and the newest that was heard of. */
export const position = signal(0)
export const head = signal(0)
/** Whether what is shown is being asked for. */
export const busy = signal(false)
/** What a person should know of what just went wrong or right. */
export const notice = signal<string>('')

export const utc = signal(localStorage.getItem('utc') === '1')
export type Theme = 'auto' | 'light' | 'dark'
export const theme = signal<Theme>((localStorage.getItem('theme') as Theme | null) ?? 'auto')
export const help = signal(false)

export const live = computed(() => place.value.moment === null)
/** The moment that is shown, in milliseconds. */
export const shownAt = computed(() => place.value.moment?.at ?? now.value)

/** The parameters that ask of the moment that is shown. */
export const then = computed<Record<string, string>>(() => {
  const { moment, knownThen } = place.value
  if (!moment) return {}
  return knownThen ? { as_of: written(moment), known_at: written(moment) } : { as_of: written(moment) }
})

export const byId = computed(() => new Map(fleet.value.map((vm) => [vm.instance, vm])))
export const nameOf = (instance: string): string => byId.value.get(instance)?.name ?? instance.slice(0, 8)
export const chosen = computed(() => (place.value.vm ? byId.value.get(place.value.vm) : undefined))

/** Open commands by their VMs: where what is observed is not what is wanted. */
const ENDED = new Set(['Confirmed', 'Refused', 'Failed', 'Withdrawn', 'Expired'])
export const isOpen = (command: Command): boolean => command.ended === null && !ENDED.has(command.state)
export const openByVm = computed(() => new Map(commands.value.filter(isOpen).map((each) => [each.instance, each])))

export const blindHosts = computed(() => hosts.value.filter((host) => host.blind_since !== null))

export type Order = 'name' | 'state' | 'since'
export const order = signal<Order>('name')

/** What a filter's words are looked for in. */
export function textOf(vm: Vm): string {
  const word = BY_CODE[codeOf(vm.power_state)]!.word
  return `${vm.name ?? ''} ${vm.instance} ${vm.host} ${vm.power_state} ${word} ${vm.vm_state ?? ''} ${vm.note}`.toLowerCase()
}

export const rows = computed<readonly Vm[]>(() => {
  const words = place.value.filter.toLowerCase().split(/\s+/).filter(Boolean)
  const found = words.length
    ? fleet.value.filter((vm) => { const text = textOf(vm); return words.every((word) => text.includes(word)) })
    : fleet.value
  if (order.value === 'name') return found
  const state = (vm: Vm): number => -codeOf(vm.power_state)
  const since = (vm: Vm): number => -(Date.parse(vm.since ?? '') || 0)
  const key = order.value === 'state' ? state : since
  return [...found].sort((one, other) => key(one) - key(other))
})

export const DAY = 86_400_000
const SHORT = 60_000
/** What of time is shown where somebody moved it away from now; null: it follows the moment. */
export const moved = signal<Span | null>(null)

/** The time that lanes show. */
export const span = computed<Span>(() => {
  if (moved.value) return moved.value
  const length = place.value.span ?? Math.min(DAY, Math.max(SHORT, (now.value - (begin.value ?? now.value)) * 1.02))
  // What comes next has some room at the right.
  const until = now.value + length * 0.02
  const at = place.value.moment?.at
  const since = until - length
  return at !== undefined && at < since ? { since: at - length / 2, until: at + length / 2 } : { since, until }
})

export function go(change: Partial<Place>): void {
  place.value = { ...place.value, ...change }
}
