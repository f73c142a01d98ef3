// How long each VM was up, where time that nobody saw makes the truth a range; and how busy the log was.

import { useSignal, useSignalEffect } from '@preact/signals'
import type { Uptime as Row } from '../wire.ts'
import { askAll, to } from '../model/ask.ts'
import { admission, go, live, place, shownAt } from '../model/state.ts'
import { lasting, rfc3339 } from '../model/time.ts'
import { Chart } from './chart.ts'
import { html } from './html.ts'
import { Empty } from './small.ts'

const SPANS: readonly (readonly [string, number])[] = [['hour', 3.6e6], ['day', 8.64e7], ['week', 6.048e8], ['30 days', 2.592e9]]
const AGAIN = 60_000

export function Uptime() {
  const length = useSignal(8.64e7)
  const rows = useSignal<readonly Row[] | null>(null)
  const said = useSignal('')
  const until = useSignal(0)
  useSignalEffect(() => {
    // Live, it is asked anew once a minute; of the past, for each moment.
    void admission.value
    const end = live.value ? Math.floor(shownAt.value / AGAIN) * AGAIN + AGAIN : shownAt.value
    if (end !== until.peek()) until.value = end
  })
  useSignalEffect(() => {
    if (!until.value) return
    const end = live.peek() ? null : rfc3339(until.value)
    const since = rfc3339((live.peek() ? shownAt.peek() : until.value) - length.value)
    const mine = new AbortController()
    askAll<Row>(to('/v1/uptime', { since, until: end, limit: 1000 }), mine.signal).then(
      ({ body }) => { [rows.value, said.value] = [body, ''] },
      (error: unknown) => { if (!mine.signal.aborted) said.value = error instanceof Error ? error.message : String(error) },
    )
    return () => mine.abort()
  })
  const found = rows.value?.filter((row) => !place.value.filter || (row.name ?? row.instance).toLowerCase().includes(place.value.filter.toLowerCase()))
  const worst = found?.toSorted((one, other) => (one.availability_min ?? 2) - (other.availability_min ?? 2))
  return html`<section class="panel" tabindex="0" aria-label="Uptime">
    <header><h2>Uptime</h2>
      <div class="choice" role="group" aria-label="of the last">${SPANS.map(([name, millis]) => html`
        <button type="button" aria-pressed=${length.value === millis} onClick=${() => { length.value = millis }}>${name}</button>`)}</div>
      <span class="faint">availability is a range, where there was time that nobody saw</span></header>
    <${Chart} length=${length.value} until=${until.value} />
    ${said.value && html`<p class="note" role="alert">${said.value}</p>`}
    ${worst && !worst.length && html`<${Empty}>No VM existed in that time.<//>`}
    ${worst && worst.length > 0 && html`<div class="scrolls" tabindex="0" role="region" aria-label="Uptime of each VM"><table>
      <thead><tr><th>VM</th><th class="shares">Of its time</th><th class="number">Up</th><th class="number">Down</th><th class="number">Paused</th><th class="number">Unknown</th><th class="number">Availability</th></tr></thead>
      <tbody>${worst.slice(0, 1000).map((row) => html`<tr key=${row.instance}>
        <td><button type="button" class="link" onClick=${() => go({ vm: row.instance })}><bdi>${(row.name ?? row.instance).slice(0, 80)}</bdi></button></td>
        <td class="shares"><${Bars} row=${row} /></td>
        ${[row.known_up_s, row.known_down_s, row.known_paused_s, row.unknown_s].map((seconds) => html`<td class="number">${seconds ? lasting(seconds * 1000) : html`<span class="faint">–</span>`}</td>`)}
        <td class="number">${range(row)}</td></tr>`)}</tbody></table></div>`}
  </section>`
}

function Bars({ row }: { row: Row }) {
  const parts: [string, number][] = [['s1', row.known_up_s], ['s2', row.known_paused_s], ['s3', row.known_down_s], ['s7', row.unknown_s]]
  return html`<div class="bars" aria-hidden="true">${parts.map(([kind, seconds]) => seconds > 0 && html`<span class=${kind} style=${{ flexGrow: seconds / (row.existed_s || 1) }}></span>`)}</div>`
}

/** Rounded as the service does: outwards. */
function range({ availability_min: least, availability_max: most }: Row): string {
  if (least === null || most === null) return '–'
  const low = Math.floor(least * 1e4) / 100
  const high = Math.ceil(most * 1e4) / 100
  return low === high ? `${low.toFixed(2)} %` : `${low.toFixed(2)} – ${high.toFixed(2)} %`
}
