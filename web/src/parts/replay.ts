// What another policy would have done with the same facts: the log is folded again, and nothing is stopped.

import { useSignal, useSignalEffect } from '@preact/signals'
import type { Comparison, Page, Policy } from '../wire.ts'
import { ask, write } from '../model/ask.ts'
import { tell } from '../model/fleet.ts'
import { written } from '../model/moment.ts'
import { admission, go, live, place, role } from '../model/state.ts'
import { html } from './html.ts'
import { Empty, Position, StateChip, Time } from './small.ts'

const RECORDED = 'recorded'

export function Replay() {
  const policies = useSignal<readonly Policy[]>([])
  const sides = useSignal<[string, string]>(['nova-2013', 'nova-2026'])
  const found = useSignal<Comparison | null>(null)
  const said = useSignal('')
  const busy = useSignal(false)
  useSignalEffect(() => {
    if (admission.value.kind === 'in') void ask<Page<Policy>>('/v1/policies').then(({ body }) => { policies.value = body.items }, tell)
  })
  const run = async (event: Event): Promise<void> => {
    event.preventDefault()
    const [policy, against] = sides.value
    const { moment } = place.value
    busy.value = true
    said.value = ''
    try {
      found.value = await write<Comparison>('/v1/replays', { policy, against, limit: 500, ...(moment ? { until: written(moment) } : {}) })
    } catch (error) {
      found.value = null
      said.value = error instanceof Error ? error.message : String(error)
    } finally {
      busy.value = false
    }
  }
  const names = [RECORDED, ...policies.value.map((each) => each.name), 'nova']
  const words = (name: string): string => name === RECORDED ? 'what was recorded' : name === 'nova' ? "Nova's own stops" : name
  const choose = (index: 0 | 1, label: string) => html`<label>${label} <select value=${sides.value[index]}
    onChange=${(event: Event) => { sides.value = sides.value.with(index, (event.target as HTMLSelectElement).value) as [string, string] }}>
    ${names.map((name) => html`<option value=${name} selected=${sides.value[index] === name}>${words(name)}</option>`)}</select></label>`
  const same = sides.value[0] === sides.value[1]
  return html`<section class="panel" tabindex="0" aria-label="Replay">
    <header><h2>Replay</h2><span class="faint">the same facts under another policy: which stops differ; nothing is sent</span></header>
    <form class="do" onSubmit=${run}>
      ${choose(0, 'A')} ${choose(1, 'B')}
      <button type="submit" disabled=${role.value === 'read' || same || busy.value}>${busy.value ? 'Replaying …' : `Replay ${live.value ? 'all' : 'up to this moment'}`}</button>
      ${role.value === 'read' && html`<span class="faint">to replay takes the role operate, or <code>es-power replay --policy A --against B</code> on the host</span>`}
      ${same && html`<span class="faint">A policy cannot differ from itself.</span>`}
    </form>
    ${said.value && html`<p class="note" role="alert">${said.value}</p>`}
    ${found.value && html`<${Found} found=${found.value} words=${words} />`}
    <${Tables} policies=${policies.value.filter((each) => sides.value.includes(each.name))} />
  </section>`
}

function Found({ found, words }: { found: Comparison; words: (name: string) => string }) {
  const figures: [string, number][] = [
    ['both call for', found.both], ['of these otherwise', found.otherwise],
    [`only ${words(found.left)}`, found.only_left], [`only ${words(found.right)}`, found.only_right],
  ]
  return html`<dl class="figures" role="status">${figures.map(([name, count]) => html`<div><dt>${name}</dt><dd>${count.toLocaleString('en')}</dd></div>`)}
      <div><dt>read up to</dt><dd>#${found.position.toLocaleString('en')}</dd></div></dl>
    ${!found.differences.length ? html`<${Empty}>Both call for the same stops.<//>` : html`<div class="scrolls" tabindex="0" role="region" aria-label="Where they differ"><table>
      <thead><tr><th>When</th><th>VM</th><th>Difference</th><th>Rule</th><th>Command</th><th>Observed</th><th>What the VM did around then</th><th>At</th></tr></thead>
      <tbody>${found.differences.map((each) => html`<tr>
        <td><${Time} at=${each.requested_at} whole /></td>
        <td><button type="button" class="link" onClick=${() => go({ vm: each.instance })}><bdi>${(each.name ?? each.instance).slice(0, 80)}</bdi></button></td>
        <td class=${each.only_in === found.left ? 'left' : each.only_in === found.right ? 'right' : ''}>${each.difference}</td>
        <td>${each.rule ?? '–'}</td><td>${each.command ?? '–'}</td>
        <td>${each.power_state ? html`<${StateChip} state=${each.power_state} />` : '–'}</td>
        <td class="wide">${each.then}</td><td><${Position} of=${each.position} at=${each.requested_at} /></td></tr>`)}</tbody></table></div>`}`
}

/** The decision tables of both, with the cells in which they differ. */
function Tables({ policies }: { policies: readonly Policy[] }) {
  if (!policies.length) return null
  const cell = (policy: Policy, row: number, column: string): string => policy.table[row]?.[column] ?? ''
  const first = policies[0]!
  const columns = Object.keys(first.table[0] ?? {}).filter((name) => name !== 'vm_state')
  return html`<div class="halves">${policies.map((policy) => html`<div key=${policy.name}>
    <h3>${policy.name}, version ${policy.version}</h3><p class="faint">${policy.description}</p>
    <div class="scrolls" tabindex="0" role="region" aria-label="The table of ${policy.name}"><table class="cells">
      <thead><tr><th>recorded</th>${columns.map((name) => html`<th>${name.toLowerCase()}</th>`)}</tr></thead>
      <tbody>${policy.table.map((row, index) => html`<tr><th>${row['vm_state']}</th>${columns.map((name) => {
        const differs = policies.some((other) => cell(other, index, name) !== cell(policy, index, name))
        return html`<td class="${differs ? 'differs' : ''} ${/stop/.test(row[name] ?? '') ? 'stops' : ''}">${row[name]}</td>`
      })}</tr>`)}</tbody></table></div></div>`)}</div>`
}
