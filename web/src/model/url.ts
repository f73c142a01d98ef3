// What of the page's state its URL carries, so that a link shows another what one sees. What has its usual value is
// left out; what cannot be read is as if it were not there.

import { readMoment, written, type Moment } from './moment.ts'

export const TABS = ['fleet', 'commands', 'replay', 'audit', 'uptime'] as const
export type Tab = (typeof TABS)[number]

export interface Place {
  tab: Tab
  /** null: live. */
  moment: Moment | null
  /** Whether the past is told by what was known then, and not by what is known now. */
  knownThen: boolean
  tiles: boolean
  filter: string
  /** Whether beside what is known stands what a sync would have had in which the last report wins. */
  beside: boolean
  /** The VM that is looked at. */
  vm: string | null
  /** What of time lanes show, in milliseconds; null: as much as there is, up to a day. */
  span: number | null
}

export const HOME: Place = { tab: 'fleet', moment: null, knownThen: false, tiles: false, beside: false, filter: '', vm: null, span: null }

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

export function toQuery(place: Place): string {
  const query = new URLSearchParams()
  if (place.tab !== HOME.tab) query.set('tab', place.tab)
  if (place.moment) query.set('t', written(place.moment))
  if (place.moment && place.knownThen) query.set('known', 'then')
  if (place.tiles) query.set('view', 'tiles')
  if (place.beside) query.set('beside', 'last-report')
  if (place.filter) query.set('q', place.filter)
  if (place.vm) query.set('vm', place.vm)
  if (place.span !== null) query.set('span', String(Math.round(place.span / 1000)))
  const text = query.toString().replaceAll('%3A', ':')
  return text ? `?${text}` : ''
}

export function fromQuery(text: string): Place {
  const query = new URLSearchParams(text)
  const span = Number(query.get('span'))
  return {
    tab: TABS.find((tab) => tab === query.get('tab')) ?? HOME.tab,
    moment: readMoment(query.get('t') ?? ''),
    knownThen: query.get('known') === 'then',
    tiles: query.get('view') === 'tiles',
    beside: query.get('beside') === 'last-report',
    filter: query.get('q') ?? '',
    vm: UUID.test(query.get('vm') ?? '') ? query.get('vm') : null,
    span: span > 0 && span < 4e9 ? span * 1000 : null,
  }
}
