// The card of the VM that is looked at: what it is, and why, with the evidence.

import { useSignal, useSignalEffect } from '@preact/signals'
import type { Why } from '../wire.ts'
import { ask, ProblemError, to } from '../model/ask.ts'
import { chosen, go, openByVm, place, then } from '../model/state.ts'
import { html } from './html.ts'
import { Position, Since, StateChip, Time } from './small.ts'

export function Card() {
  const why = useSignal<Why | null>(null)
  const failed = useSignal('')
  useSignalEffect(() => {
    const { vm } = place.value
    // A state that began anew has another cause.
    void chosen.value?.since
    const query = then.value
    if (!vm) return
    let current = true
    ask<Why>(to(`/v1/vms/${vm}/why`, query)).then(
      ({ body }) => { if (current) [why.value, failed.value] = [body, ''] },
      (error: unknown) => { if (current) [why.value, failed.value] = [null, error instanceof ProblemError ? error.problem.detail : ''] },
    )
    return () => { current = false }
  })
  const vm = chosen.value
  const id = place.value.vm
  if (!id) return null
  const said = why.value?.instance === id ? why.value : null
  const command = openByVm.value.get(id)
  return html`<section class="card" aria-label="Why">
    <header>
      <h2><bdi>${(vm?.name ?? said?.name ?? id).slice(0, 300)}</bdi></h2>
      <button type="button" class="quiet" aria-label="close" onClick=${() => go({ vm: null })}>×</button>
    </header>
    ${vm && html`<div class="now"><${StateChip} state=${vm.power_state} /> <span class="faint">for</span> <${Since} at=${vm.since} />
      <span class="faint">on</span> ${vm.host} <span class="faint">· ${vm.vm_state ?? 'not recorded'} · policy ${vm.policy}</span></div>
      ${vm.note && html`<p class="note">${vm.note}</p>`}`}
    ${command && html`<p class="note drift">Rule ${command.rule} of ${command.policy} asks for a ${command.command}: ${command.state}.
      <button type="button" class="link" onClick=${() => go({ tab: 'commands' })}>Commands</button></p>`}
    ${failed.value && html`<p class="note">${failed.value}</p>`}
    ${said && html`<${Verdict} why=${said} />`}
    <p class="faint id" title="its UUID">${id}</p>
  </section>`
}

function Verdict({ why }: { why: Why }) {
  return html`<div class="why">
    ${why.to_state !== 'RUNNING' && html`<p class="verdict"><strong class="because ${why.confidence}">${why.cause}</strong>
      <span class="faint"> confidence </span><strong class="confidence ${why.confidence}">${why.confidence}</strong></p>`}
    <p>${why.sentence}</p>
    ${why.at && html`<p class="change"><${StateChip} state=${why.from_state} word=${false} /> → <${StateChip} state=${why.to_state} />
      <${Time} at=${why.at} whole /></p>`}
    ${why.evidence.length > 0 && html`<h3>Evidence</h3><ul class="evidence">
      ${why.evidence.map((each) => html`<li>
        <span class="weight" aria-label=${each.weight === '+' ? 'for it' : 'not there, or against it'}>${each.weight === '+' ? '+' : '−'}</span>
        <span class="what">${each.what}</span>
        ${each.position !== null && html`<${Position} of=${each.position} at=${each.at} />`}
      </li>`)}</ul>`}
    ${why.notes.map((note) => html`<p class="note">${note}</p>`)}
    ${why.next.length > 0 && html`<h3>To look further</h3>${why.next.map((line) => html`<code>${line}</code>`)}`}
  </div>`
}
