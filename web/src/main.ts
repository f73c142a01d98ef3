// The page: let in, told of the fleet, and then in step with the log.

import { effect } from '@preact/signals'
import { render } from 'preact'
import { loadAround, loadLatest, ofVm, whenKnown } from './model/events.ts'
import { loadBounds, loadFleet, tell } from './model/fleet.ts'
import { listen, press } from './model/keys.ts'
import { followFrom } from './model/live.ts'
import { admitted } from './model/session.ts'
import { admission, blindHosts, byId, head, live, place, theme, then, utc, rows, commands, isOpen, go } from './model/state.ts'
import { tick } from './model/ticking.ts'
import { fromQuery, TABS, toQuery, type Tab } from './model/url.ts'
import { Audit } from './parts/audit.ts'
import { Bar } from './parts/bar.ts'
import { Card } from './parts/card.ts'
import { Commands } from './parts/commands.ts'
import { Events } from './parts/events.ts'
import { Grid } from './parts/grid.ts'
import { Help } from './parts/help.ts'
import { html } from './parts/html.ts'
import { Replay } from './parts/replay.ts'
import { Tiles } from './parts/tiles.ts'
import { Uptime } from './parts/uptime.ts'

const WORDS: Record<Tab, string> = { fleet: 'Fleet', commands: 'Commands', replay: 'Replay', audit: 'Audit', uptime: 'Uptime' }

function Page() {
  const { tab, tiles } = place.value
  if (admission.value.kind === 'out' && !head.value) return html`<${Door} />`
  return html`<${Bar} />
    <nav class="tabs" aria-label="Views">
      <div role="tablist">${TABS.map((each) => html`<button type="button" role="tab" id="tab-${each}" aria-selected=${tab === each} aria-controls="view"
        onClick=${() => go({ tab: each })}>${WORDS[each]}${each === 'commands' ? html`<${OpenCount} />` : ''}</button>`)}</div>
      <input id="filter" type="search" placeholder="Filter  /" aria-label="Filter the fleet by name, host, state" value=${place.value.filter}
        onInput=${(event: Event) => go({ filter: (event.target as HTMLInputElement).value.slice(0, 200) })} />
      <span class="count" role="status">${rows.value.length === byId.value.size ? `${byId.value.size} VMs` : `${rows.value.length} of ${byId.value.size}`}</span>
      ${tab === 'fleet' && !tiles && html`<div class="choice" role="group" aria-label="Time">
        ${([['-', '−', 'zoom out'], ['0', '⤢', 'see all'], ['+', '+', 'zoom in']] as const).map(([key, sign, says]) => html`
          <button type="button" aria-label=${says} title="${says} (${key})" onClick=${() => press(key)}>${sign}</button>`)}</div>
      <button type="button" class="beside" aria-pressed=${place.value.beside} title="under each lane what a sync would have had for true in which the last report wins (r)"
        onClick=${() => go({ beside: !place.value.beside })}>last report</button>`}
      ${tab === 'fleet' && html`<div class="choice" role="group" aria-label="The fleet as">
        <button type="button" aria-pressed=${!tiles} onClick=${() => go({ tiles: false })}>Table</button>
        <button type="button" aria-pressed=${tiles} onClick=${() => go({ tiles: true })}>Tiles</button></div>`}
    </nav>
    <main class=${place.value.vm ? 'with-card' : ''}>
      <div id="view" role="tabpanel" aria-labelledby="tab-${tab}">
        ${tab === 'fleet' && (tiles ? html`<${Tiles} />` : html`<${Grid} />`)}
        ${tab === 'commands' && html`<${Commands} />`}
        ${tab === 'replay' && html`<${Replay} />`}
        ${tab === 'audit' && html`<${Audit} />`}
        ${tab === 'uptime' && html`<${Uptime} />`}
      </div>
      <aside aria-label="What happened"><${Card} /><${Events} /></aside>
    </main>
    <${Help} />`
}

function OpenCount() {
  const open = commands.value.filter(isOpen).length
  return open ? html` <span class="badge" title="open">${open}</span>` : null
}

/** Nobody is let in yet: what to do, instead of nothing. */
function Door() {
  const { why } = admission.value as { why: string }
  return html`<main class="door"><div>
    <h1><span aria-hidden="true" class="logo"></span>es-power</h1>
    <p>This browser has no session with the service yet. On its host, say</p>
    <pre><code>es-power ui</code></pre>
    <p>and open the link that it prints: it is good once, for five minutes. <code>es-power ui --role read</code> makes one for a wall.</p>
    <p class="faint" role="status">${why} This page goes on by itself once it is let in.</p>
  </div></main>`
}

async function begin(): Promise<void> {
  await admitted()
  await loadBounds()
  const { value } = head
  await Promise.all([loadFleet(), loadLatest()])
  followFrom(value)
}

effect(() => {
  const query = toQuery(place.value)
  if (query !== location.search) history.replaceState(null, '', query || location.pathname)
})
effect(() => {
  document.documentElement.dataset['theme'] = theme.value
  localStorage.setItem('theme', theme.value)
  localStorage.setItem('utc', utc.value ? '1' : '0')
})

const SETTLED = 120
let settling: ReturnType<typeof setTimeout> | undefined
let asked = ''
effect(() => {
  // What is dragged is asked for where it rests.
  const key = JSON.stringify([then.value, ofVm.value])
  if (admission.value.kind !== 'in' || key === asked) return
  asked = key
  clearTimeout(settling)
  settling = setTimeout(() => {
    void loadFleet()
    void loadAround()
  }, live.peek() ? 0 : SETTLED)
})
whenKnown()
setInterval(tick, 1000)
effect(() => {
  const blind = blindHosts.value.length
  document.title = blind ? `${blind} blind · es-power` : 'es-power'
})
addEventListener('popstate', () => { place.value = fromQuery(location.search) })
addEventListener('keydown', (event) => { if (!document.querySelector('dialog[open]')) listen(event) })
addEventListener('unhandledrejection', (event) => tell(event.reason))
render(html`<${Page} />`, document.getElementById('page')!)
void begin().catch(tell)
