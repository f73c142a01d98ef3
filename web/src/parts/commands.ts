// Stop commands: what was decided and why, and where a person says yes or no.

import { useSignal, useSignalEffect } from '@preact/signals'
import { useLayoutEffect, useRef } from 'preact/hooks'
import type { Command, CommandShown } from '../wire.ts'
import { ask, to, write } from '../model/ask.ts'
import { commands, go, hosts, isOpen, live, role, then } from '../model/state.ts'
import { stirAll } from '../model/fleet.ts'
import { html } from './html.ts'
import { Empty, Position, Time } from './small.ts'

/** Why one may not approve or reject here; empty where one may. */
function hindrance(command: Command): string {
  if (role.value === 'read') return 'This session may only read: `es-power ui --role operate` lets it decide.'
  if (!live.value) return 'This is the past: go back to now (l) to decide.'
  if (!isOpen(command)) return `It has ended: ${command.state}.`
  return ''
}

export function Commands() {
  const shown = useSignal<string | null>(null)
  const asking = useSignal<{ command: Command; verb: 'approve' | 'reject' } | null>(null)
  const list = commands.value.toReversed()
  const modes = [...new Set(hosts.value.map((host) => host.mode))]
  return html`<section class="panel" tabindex="0" aria-label="Stop commands">
    <header><h2>Commands</h2>
      <span class="faint">${list.filter(isOpen).length} open of ${list.length}${modes.length ? `; mode ${modes.join(', ')}` : ''}${modes.includes('dry-run') ? ': nothing is sent' : ''}</span></header>
    ${!list.length && html`<${Empty}>No stop command was ever planned.<//>`}
    ${list.length > 0 && html`<div class="scrolls" tabindex="0" role="region" aria-label="All stop commands"><table>
      <thead><tr><th>Requested</th><th>VM</th><th>Host</th><th>Rule</th><th>Command</th><th>State</th><th>Because</th><th><span class="unseen">What to do</span></th></tr></thead>
      <tbody>${list.slice(0, 500).map((command) => html`
        <tr key=${command.id} class=${isOpen(command) ? 'open' : ''}>
          <td><${Time} at=${command.requested_at} whole /></td>
          <td><button type="button" class="link" onClick=${() => go({ vm: command.instance })}><bdi>${(command.name ?? command.instance).slice(0, 80)}</bdi></button></td>
          <td><bdi>${command.host}</bdi></td>
          <td>${command.rule} <span class="faint">${command.policy}</span></td>
          <td>${command.command}</td>
          <td><span class="step ${command.state.toLowerCase()}">${command.state}</span></td>
          <td class="wide">${command.ended?.reason ?? command.reason}</td>
          <td class="acts">
            ${isOpen(command) && (['approve', 'reject'] as const).map((verb) => html`
              <button type="button" class=${verb} disabled=${hindrance(command) !== ''} title=${hindrance(command) || verb}
                onClick=${() => { asking.value = { command, verb } }}>${verb === 'approve' ? 'Approve' : 'Reject'}</button>`)}
            <button type="button" aria-expanded=${shown.value === command.id} onClick=${() => { shown.value = shown.value === command.id ? null : command.id }}>Show</button>
          </td>
        </tr>
        ${shown.value === command.id && html`<tr class="detail"><td colspan="8"><${Life} command=${command} /></td></tr>`}`)}
      </tbody></table></div>`}
    ${list.some(isOpen) && role.value === 'read' && html`<p class="note">${hindrance(list.find(isOpen)!)}</p>`}
    ${asking.value && html`<${Wish} ...${asking.value} done=${() => { asking.value = null }} />`}
  </section>`
}

function Life({ command }: { command: Command }) {
  const found = useSignal<CommandShown | null>(null)
  useSignalEffect(() => {
    // Each step of its life makes the list anew.
    void commands.value
    let current = true
    void ask<CommandShown>(to(`/v1/commands/${command.id}`, then.value)).then(({ body }) => { if (current) found.value = body }, () => undefined)
    return () => { current = false }
  })
  const { observation, record } = command.justification
  const life = found.value?.life ?? []
  return html`<div class="life">
    <p>${command.reason}</p>
    ${command.cell && html`<p class="faint">The cell of ${command.policy}: recorded ${command.cell.vm_state}, observed ${command.cell.power_state}: <b>${command.cell.verdict}</b></p>`}
    <p class="faint">It rests on observation <${Position} of=${(observation['position'] as number | null) ?? null} at=${observation['observed_at'] as string} />
      and record <${Position} of=${(record['position'] as number | null) ?? null} at=${record['observed_at'] as string} /></p>
    <ol>${life.map((step) => html`<li><${Time} at=${step.at} whole /> <b>${step.step}</b> ${step.what}
      ${step.by ? html` by <bdi>${step.by}</bdi>` : ''}${step.why ? html`: <q>${step.why}</q>` : ''} <${Position} of=${step.position} at=${step.at} /></li>`)}</ol>
    <p class="faint id">${command.id}</p>
  </div>`
}

/** Say why, and it is passed on to the actor. */
function Wish({ command, verb, done }: { command: Command; verb: 'approve' | 'reject'; done: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null)
  const why = useSignal('')
  const said = useSignal('')
  const busy = useSignal(false)
  useLayoutEffect(() => { dialog.current?.showModal() }, [])
  const send = async (event: Event): Promise<void> => {
    event.preventDefault()
    busy.value = true
    try {
      await write(`/v1/commands/${command.id}/${verb}`, { why: why.value })
      stirAll()
      dialog.current?.close()
    } catch (error) {
      said.value = error instanceof Error ? error.message : String(error)
    } finally {
      busy.value = false
    }
  }
  return html`<dialog ref=${dialog} class="wish" aria-labelledby="wish" onClose=${done}>
    <form onSubmit=${send}>
      <h2 id="wish">${verb === 'approve' ? 'Approve' : 'Reject'}: ${command.command} <bdi>${(command.name ?? command.instance).slice(0, 80)}</bdi></h2>
      <p>${command.reason}</p>
      <label>Why, for whoever reads the log later
        <input type="text" required maxlength="1000" pattern=".*\\S.*" value=${why.value} onInput=${(event: Event) => { why.value = (event.target as HTMLInputElement).value }} />
      </label>
      ${said.value && html`<p class="note" role="alert">${said.value}</p>`}
      <footer><button type="button" onClick=${() => dialog.current?.close()}>Cancel</button>
        <button type="submit" class=${verb} disabled=${busy.value || !why.value.trim()}>${verb === 'approve' ? 'Approve' : 'Reject'}</button></footer>
    </form>
  </dialog>`
}
