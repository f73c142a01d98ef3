// Whether the log is what was written: the head of its chain, what is signed, a verification, and when nobody saw.

import { useSignal, useSignalEffect } from '@preact/signals'
import type { Checkpoint, Gap, Seal, Verdict } from '../wire.ts'
import { ask, askAll, write } from '../model/ask.ts'
import { head, live, position, role, shownAt } from '../model/state.ts'
import { lasting, read } from '../model/time.ts'
import { html } from './html.ts'
import { Empty, Position, Time } from './small.ts'

export function Audit() {
  const seal = useSignal<Seal | null>(null)
  const checkpoints = useSignal<readonly Checkpoint[]>([])
  const gaps = useSignal<readonly Gap[]>([])
  const verdict = useSignal<Verdict | null>(null)
  const said = useSignal('')
  const busy = useSignal('')
  const asked = useSignal(0)
  const load = async (): Promise<void> => {
    const [sealed, all, blind] = await Promise.all([
      ask<Seal>('/v1/audit'), askAll<Checkpoint>('/v1/audit/checkpoints?limit=1000'), askAll<Gap>('/v1/gaps?limit=1000'),
    ])
    seal.value = sealed.body
    checkpoints.value = all.body.toReversed()
    gaps.value = blind.body.toReversed()
  }
  useSignalEffect(() => {
    void asked.value
    load().catch((error: unknown) => { said.value = String(error) })
  })
  const run = (name: string, does: () => Promise<void>) => async (): Promise<void> => {
    busy.value = name
    said.value = ''
    try {
      await does()
    } catch (error) {
      said.value = error instanceof Error ? error.message : String(error)
    } finally {
      busy.value = ''
    }
  }
  const verify = run('verify', async () => { verdict.value = (await ask<Verdict>('/v1/audit/verify')).body })
  const sign = run('sign', async () => {
    await write('/v1/audit/checkpoint')
    asked.value += 1
  })
  const end = live.value ? head.value : position.value
  const now = seal.value
  const newest = now?.checkpoint ?? null
  const unsigned = newest ? Math.max(0, end - newest.size) : end
  const gapsThen = gaps.value.filter((gap) => live.value || gap.position <= position.value)
  return html`<section class="panel" tabindex="0" aria-label="Audit">
    <header><h2>Audit</h2><span class="faint">the log is one chain of hashes; a checkpoint signs all of it up to a position</span></header>
    <dl class="figures">
      <div><dt>Chain head</dt><dd>#${end.toLocaleString('en')}</dd></div>
      <div><dt>Signed up to</dt><dd>${newest ? html`#${newest.size.toLocaleString('en')}` : '–'}</dd></div>
      <div><dt>Not signed yet</dt><dd>${unsigned.toLocaleString('en')}</dd></div>
      <div><dt>Gaps</dt><dd>${gapsThen.length}</dd></div>
    </dl>
    ${newest && html`<p class="hash"><span class="faint">root</span> <code>${newest.root}</code></p>`}
    ${now && html`<p class="hash"><span class="faint">verifier key</span> <code>${now.verifier ?? 'none: the service does not sign ([audit] key)'}</code></p>`}
    ${now?.failure && html`<p class="note">${now.failure}</p>`}
    ${Object.entries(now?.failed ?? {}).map(([where, why]) => html`<p class="note">${where} did not take the last checkpoint: ${why}</p>`)}
    <div class="do">
      <button type="button" disabled=${role.value !== 'admin' || busy.value !== ''} onClick=${verify}>${busy.value === 'verify' ? 'Verifying …' : 'Verify the whole log'}</button>
      <button type="button" disabled=${role.value === 'read' || !now?.verifier || busy.value !== ''} onClick=${sign}>Sign a checkpoint now</button>
      ${role.value !== 'admin' && html`<span class="faint">to verify takes the role admin (<code>es-power ui --role admin</code>), or <code>es-power audit verify</code> on the host</span>`}
    </div>
    ${said.value && html`<p class="note" role="alert">${said.value}</p>`}
    ${verdict.value && html`<${Found} verdict=${verdict.value} />`}
    <div class="halves">
      <div><h3>Blind times</h3>
        ${!gapsThen.length ? html`<${Empty}>Every observed host was seen all the time.<//>` : html`<div class="scrolls" tabindex="0" role="region" aria-label="Blind times"><table>
          <thead><tr><th>Host</th><th>From</th><th>Lasted</th><th>Because</th><th>Lost</th><th>At</th></tr></thead>
          <tbody>${gapsThen.slice(0, 500).map((gap) => html`<tr class=${gap.until ? '' : 'open'}><td><bdi>${gap.host}</bdi></td><td><${Time} at=${gap.since} whole /></td>
            <td>${lasting((gap.until ? read(gap.until) : shownAt.value) - read(gap.since))}${gap.until ? '' : ', still'}</td><td class="wide">${gap.reason}</td><td>${gap.lost ?? '–'}</td>
            <td><${Position} of=${gap.position} at=${gap.until ?? gap.since} /></td></tr>`)}</tbody></table></div>`}
      </div>
      <div><h3>Checkpoints</h3>
        ${!checkpoints.value.length ? html`<${Empty}>None was signed yet.<//>` : html`<div class="scrolls" tabindex="0" role="region" aria-label="Checkpoints"><table>
          <thead><tr><th>Signed</th><th>Up to</th><th>Root</th><th>At</th></tr></thead>
          <tbody>${checkpoints.value.slice(0, 500).map((each) => html`<tr><td><${Time} at=${each.observed_at} whole /></td><td>#${each.size}</td>
            <td><code title=${each.root}>${each.root.slice(0, 12)}…</code></td><td><${Position} of=${each.position} at=${each.observed_at} /></td></tr>`)}</tbody></table></div>`}
      </div>
    </div>
  </section>`
}

function Found({ verdict }: { verdict: Verdict }) {
  return html`<div class="verdict ${verdict.intact ? 'intact' : 'damaged'}" role="status">
    <strong>${verdict.intact ? '✓ intact' : '✗ damaged'}</strong>
    <span> ${verdict.records.toLocaleString('en')} records of ${verdict.streams.toLocaleString('en')} streams were checked, up to #${verdict.position.toLocaleString('en')}</span>
    ${verdict.damage.map((each) => html`<p class="note"><b>${each.kind}</b>${each.position !== null ? ` at #${each.position}` : ''}${each.until !== null ? ` to #${each.until}` : ''}: ${each.detail}</p>`)}
    ${verdict.checkpoints.some((each) => each.holds === false) && html`<p class="note">A checkpoint signed another log than this one.</p>`}
  </div>`
}
