// The event list, in step with the moment that is shown; what was recorded after it is there, and dimmed.

import { useSignal } from '@preact/signals'
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks'
import { here, items, narrow, type Item } from '../model/events.ts'
import { chosen, go, live, nameOf, place } from '../model/state.ts'
import { html } from './html.ts'
import { Time } from './small.ts'

const ROW = 34
const MORE = 5

const SIGNS: readonly (readonly [RegExp, string, string])[] = [
  [/^(Lifecycle|Reboot|Watchdog|IOError|ControlError|PowerManagement|MemoryFailure)/, '◆', 'event'],
  [/^(StateObserved|HostSwept|Inventory)/, '○', 'observation'],
  [/^(Stop|Approved|Sent|Confirmed|Refused|Failed|Withdrawn|Expired|LookedAgain|Retried|Resolved)/, '▼', 'command'],
  [/^(Gap|Clock)/, '▨', 'gap'],
]

function signOf(kind: string): readonly [string, string] {
  const found = SIGNS.find(([kinds]) => kinds.test(kind))
  return found ? [found[1], found[2]] : ['·', 'other']
}

export function Events() {
  const scroller = useRef<HTMLOListElement>(null)
  const box = useSignal({ top: 0, height: 400 })
  useEffect(() => {
    const element = scroller.current!
    const measure = (): void => { box.value = { top: element.scrollTop, height: element.clientHeight } }
    const observer = new ResizeObserver(measure)
    observer.observe(element)
    element.addEventListener('scroll', measure, { passive: true })
    return () => observer.disconnect()
  }, [])
  const list = items.value
  // Newest first, as people read what happened; the log's own order is below.
  const count = list.length
  const at = count - 1 - here.value
  useLayoutEffect(() => {
    const element = scroller.current!
    if (live.value) return
    const middle = at * ROW - element.clientHeight / 2 + ROW
    element.scrollTop = Math.max(0, middle)
  }, [place.value.moment, count])
  const first = Math.max(0, Math.floor(box.value.top / ROW) - MORE)
  const last = Math.min(count, Math.ceil((box.value.top + box.value.height) / ROW) + MORE)
  const vm = chosen.value
  return html`<section class="events" aria-label="What was recorded">
    <header>
      <h2>Events</h2>
      ${vm && html`<label><input type="checkbox" checked=${narrow.value} onChange=${() => { narrow.value = !narrow.value }} /> only this VM</label>`}
    </header>
    <ol ref=${scroller} tabindex="0" aria-label="newest first">
      <li class="tall" aria-hidden="true" style=${{ height: `${count * ROW}px` }}></li>
      ${Array.from({ length: Math.max(0, last - first) }, (_, offset) => {
        const index = first + offset
        return html`<${Line} key=${list[count - 1 - index]!.position} item=${list[count - 1 - index]} top=${index * ROW}
          future=${index < at} here=${!live.value && index === at} />`
      })}
    </ol>
  </section>`
}

function Line({ item, top, future, here }: { item: Item; top: number; future: boolean; here: boolean }) {
  const [sign, kind] = signOf(item.kind)
  const press = (): void => go({
    moment: { at: item.recorded, position: item.position },
    ...(item.instance ? { vm: item.instance } : {}),
  })
  return html`<li class="${future ? 'future' : ''} ${here ? 'here' : ''}" aria-current=${here ? 'true' : undefined}
      style=${{ transform: `translateY(${top}px)` }}>
    <button type="button" onClick=${press} title=${`${item.kind}: ${item.what}`.slice(0, 1000)}>
      <span class="sign ${kind}" aria-hidden="true">${sign}</span>
      <span class="when"><${Time} at=${item.at} /></span>
      <span class="who"><bdi>${item.instance ? nameOf(item.instance).slice(0, 60) : item.host}</bdi></span>
      <span class="pos">#${item.position}</span>
      <span class="what">${item.what.slice(0, 300)}${item.count > 1 ? html` <span class="faint">×${item.count}</span>` : ''}</span>
    </button>
  </li>`
}
