// The top: the moment that is shown and how to move it, how far the log is, and what nobody sees.

import { admission, blindHosts, busy, following, go, head, help, hosts, live, lostSince, moved, notice, now, place,
  position, shownAt, span, theme, utc } from '../model/state.ts'
import { step } from '../model/events.ts'
import { press } from '../model/keys.ts'
import { lasting, read, stamp, zoneName } from '../model/time.ts'
import { html } from './html.ts'




export function Bar() {
  const session = admission.value.kind === 'in' ? admission.value.session : null
  return html`<header class="bar">
    <h1><span aria-hidden="true" class="logo"></span>es-power</h1>
    <${Pill} />
    <${Slider} />
    <div class="facts">
      <span class="fact" title="the position of the log that all of this is true at"><b>#${(live.value ? head.value : position.value).toLocaleString('en')}</b></span>
      <${Blind} />
      ${session && html`<span class="fact faint user" title="who looks, and what they may do"><bdi>${session.user}</bdi> · ${session.role}</span>`}
    </div>
    <div class="buttons">
      <button type="button" class="quiet" title="UTC or local time (u)" onClick=${() => { utc.value = !utc.value }}>${zoneName(now.value, utc.value)}</button>
      <button type="button" class="quiet" title="colours: ${theme.value} (d)" aria-label="colours: ${theme.value}" onClick=${() => press('d')}>${theme.value === 'auto' ? '◐' : theme.value === 'light' ? '☀' : '☾'}</button>
      <button type="button" class="quiet" title="keys (?)" aria-label="keys" onClick=${() => { help.value = true }}>?</button>
    </div>
    ${admission.value.kind === 'out' && !admission.value.why && html`<div class="notice" role="alert">This browser's session ended, as each does after twelve hours.
      <code>es-power ui</code> on its host prints a link to a new one; then this page goes on where it was.</div>`}
    ${notice.value && html`<div class="notice" role="alert">${notice.value} <button type="button" class="quiet" aria-label="dismiss" onClick=${() => { notice.value = '' }}>×</button></div>`}
  </header>`
}

/** Live, lost, or a moment of the past; pressing it goes back to now. */
function Pill() {
  const lost = following.value.phase === 'lost' && lostSince.value !== null
  const kind = !live.value ? 'past' : lost ? 'lost' : following.value.phase
  const words = { past: 'PAST', lost: 'LOST', connecting: '…', live: 'LIVE' }[kind]
  const title = {
    past: 'back to now (l)',
    lost: `not connected for ${lasting(now.value - (lostSince.value ?? now.value))}: what happened since then comes when it is`,
    connecting: 'connecting',
    live: 'what is recorded is shown at once',
  }[kind]
  return html`<button type="button" class="pill ${kind} ${busy.value ? 'busy' : ''}" title=${title} aria-live="polite"
      onClick=${() => { moved.value = null; go({ moment: null }) }}>
    <span class="dot" aria-hidden="true"></span>${words}
    ${lost && live.value ? html`<span class="for" aria-hidden="true">${lasting(now.value - lostSince.value!)}</span>` : ''}
  </button>`
}

const STEPS = 10_000

function Slider() {
  const { since, until } = span.value
  const end = Math.min(until, now.value)
  const at = Math.min(shownAt.value, end)
  const value = live.value ? STEPS : Math.round(((at - since) / (end - since)) * STEPS)
  const slide = (event: Event): void => {
    const place = Number((event.target as HTMLInputElement).value)
    // The window stands still while somebody looks at the past in it.
    if (moved.peek() === null) moved.value = { since, until }
    go({ moment: place >= STEPS ? null : { at: Math.round(since + ((end - since) * place) / STEPS), position: null } })
    if (place >= STEPS) moved.value = null
  }
  const text = stamp(shownAt.value, utc.value, !live.value)
  const named = place.value.moment?.position
  return html`<div class="slider">
    <button type="button" class="quiet" aria-label="one event back" title="one event back (←)" onClick=${() => step(-1)}>‹</button>
    <input type="range" min="0" max=${STEPS} step="1" value=${value} aria-label="as of" aria-valuetext=${live.value ? 'now' : text} onInput=${slide} />
    <button type="button" class="quiet" aria-label="one event on" title="one event on (→)" disabled=${live.value} onClick=${() => step(1)}>›</button>
    <output class="when">${text}${named != null ? html` <span class="faint">#${named}</span>` : ''}</output>
    ${!live.value && html`<label class="known" title="what the log did not know yet then is left out"><input type="checkbox" checked=${place.value.knownThen}
      onChange=${() => go({ knownThen: !place.value.knownThen })} /> as known then</label>`}
  </div>`
}

function Blind() {
  const blind = blindHosts.value
  const count = hosts.value.length
  if (!blind.length) return html`<span class="fact" title="every observed host is seen">${count} ${count === 1 ? 'host' : 'hosts'}, none blind</span>`
  const said = blind.map((host) => `${host.host}: ${host.blind_reason ?? 'nobody sees it'}`).join('; ')
  const longest = Math.min(...blind.map((host) => read(host.blind_since)))
  const names = `${blind.map((host) => host.host).slice(0, 3).join(', ')}${blind.length > 3 ? ' …' : ''}`
  // Who listens is told who is blind, and not every second for how long.
  return html`<span class="fact blind" title=${said}><span class="unseen" role="status">${blind.length} of ${count} hosts blind: ${names}</span>
    <span class="chip s7" aria-hidden="true">?</span>
    <span aria-hidden="true">${blind.length} of ${count} blind for ${lasting(shownAt.value - longest)}: <bdi>${names}</bdi></span></span>`
}
