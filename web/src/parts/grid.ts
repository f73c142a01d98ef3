// The fleet as a table, with each VM's lane beside its row. Only rows in sight are in the document; the table says how
// many there are, and the lane's cell says in words what the canvas draws.

import { useSignal, useSignalEffect, type Signal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { shownRows, xOf, type View } from '../lanes/view.ts'
import { causeOf, causesKnown, wantCauses } from '../model/causes.ts'
import { drawn, known, lastReport } from '../model/lanes.ts'
import {
  admission, go, now, openByVm, order, place, rows, shownAt, span, utc, type Order,
} from '../model/state.ts'
import { tell } from '../model/fleet.ts'
import { lasting, zoneName } from '../model/time.ts'
import type { Vm } from '../wire.ts'
import { Canvas, ticksOf, type Box } from './canvas.ts'
import { html } from './html.ts'
import { Since, StateChip } from './small.ts'

const MORE = 4

export function Grid() {
  const scroller = useRef<HTMLDivElement>(null)
  const box = useSignal<Box>({ width: 0, height: 0, scroll: 0, row: 24 })
  useEffect(() => {
    const element = scroller.current!
    const measure = (): void => {
      const row = parseFloat(getComputedStyle(element).getPropertyValue('--row')) || 24
      const canvas = element.querySelector('canvas')
      box.value = { width: canvas?.clientWidth ?? 0, height: element.clientHeight, scroll: element.scrollTop, row }
    }
    const observer = new ResizeObserver(measure)
    observer.observe(element)
    measure()
    // While it is scrolled nothing else is measured: that would have everything laid out on the way.
    element.addEventListener('scroll', () => { box.value = { ...box.value, scroll: element.scrollTop } }, { passive: true })
    return () => observer.disconnect()
  }, [])

  const [first, last] = shownRows({ ...box.value, rows: rows.value.length }, MORE)
  const shown = rows.value.slice(first, last)
  const chosen = rows.value.findIndex((vm) => vm.instance === place.value.vm)

  useSignalEffect(() => {
    // What changes any of these may bring lanes into sight that are not at hand.
    void [drawn.value, now.value]
    if (admission.value.kind !== 'in' || !box.value.width) return
    const [begin, end] = shownRows({ ...box.value, rows: rows.value.length }, MORE)
    const seen = rows.value.slice(begin, end)
    const shelves = place.value.beside ? [known, lastReport] : [known]
    for (const shelf of shelves) void shelf.want(seen.map((vm) => vm.instance), span.value).catch(tell)
    wantCauses(seen)
  })
  useEffect(() => {
    const element = scroller.current!
    const top = chosen * box.value.row
    if (chosen < 0) return
    if (top < element.scrollTop) element.scrollTop = top
    else if (top + box.value.row > element.scrollTop + element.clientHeight) element.scrollTop = top + box.value.row - element.clientHeight
  }, [place.value.vm])

  return html`<div class="grid" role="grid" aria-label="The fleet" aria-rowcount=${rows.value.length + 1} aria-colcount="6">
    <div class="head" role="rowgroup"><div role="row" aria-rowindex="1" class="columns">
      <${Heading} by="state">State<//><${Heading} by="name">Name<//><${Heading} by="since">Since<//>
      <div role="columnheader" class="cause">Cause</div>
      <div role="columnheader" class="record" title="what Nova or a person says, and where that is not what is observed">Recorded</div>
      <div role="columnheader" class="lane"><${Axis} box=${box} /></div>
    </div></div>
    <div class="scroller" ref=${scroller}>
      <div class="tall" role="rowgroup" style=${{ height: `${rows.value.length * box.value.row}px` }}>
        <${Canvas} box=${box} />
        <div class="rows" role="presentation" style=${{ transform: `translateY(${first * box.value.row}px)` }}>
          ${shown.map((vm, index) => html`<${Row} key=${`${vm.instance} ${vm.host}`} vm=${vm} index=${first + index} chosen=${first + index === chosen}
            first=${first + index === (chosen < 0 ? 0 : chosen)} />`)}
        </div>
      </div>
    </div>
  </div>`
}

function Heading({ by, children }: { by: Order; children: unknown }) {
  const mine = order.value === by
  return html`<div role="columnheader" class=${by} aria-sort=${mine ? 'ascending' : 'none'}>
    <button type="button" onClick=${() => { order.value = by }}>${children}${mine ? html`<span aria-hidden="true"> ▾</span>` : ''}</button>
  </div>`
}

function Row({ vm, index, chosen, first }: { vm: Vm; index: number; chosen: boolean; first: boolean }) {
  const element = useRef<HTMLDivElement>(null)
  useEffect(() => {
    // The focus follows what is chosen by keys, where it is in the table already.
    if (chosen && document.activeElement?.closest('.grid .rows')) element.current?.focus({ preventScroll: true })
  }, [chosen])
  return html`<div role="row" class="row" ref=${element} aria-rowindex=${index + 2} aria-selected=${chosen} tabindex=${first ? 0 : -1}
      data-vm=${vm.instance} onClick=${() => go({ vm: vm.instance })}>
    <div role="gridcell" class="state"><${StateChip} state=${vm.power_state} /></div>
    <div role="gridcell" class="name" title=${(vm.name ?? vm.instance).slice(0, 1000)}><bdi>${(vm.name ?? vm.instance).slice(0, 200)}</bdi></div>
    <div role="gridcell" class="since"><${Since} at=${vm.since} /></div>
    <div role="gridcell" class="cause"><${Cause} vm=${vm} /></div>
    <div role="gridcell" class="record"><${Record} vm=${vm} /></div>
    <div role="gridcell" class="lane unseen"><${LaneWords} vm=${vm} /></div>
  </div>`
}

export function Cause({ vm }: { vm: Vm }) {
  void causesKnown.value
  const why = causeOf(vm)
  if (why) return html`<span class="because ${why.confidence}" title="${why.sentence} Confidence: ${why.confidence}.">${why.cause}</span>`
  return html`<span class="faint" title=${vm.note}>${vm.note}</span>`
}

/** What is recorded of it, and whether that is a divergence for which a command is open. */
export function Record({ vm }: { vm: Vm }) {
  const command = openByVm.value.get(vm.instance)
  const said = vm.task_state ? `${vm.vm_state} ${vm.task_state}` : vm.vm_state
  const drift = command ? `${command.command} is ${command.state}: ${command.reason}` : vm.drift && `${vm.policy} says: ${vm.drift}`
  return html`${drift
    ? html`<span class="drift" title=${drift}>≠ ${said}</span>`
    : html`<span class="faint">${said ?? ''}</span>`}${vm.provisional ? html`<span class="faint" title="not confirmed by an observation yet"> …</span>` : ''}`
}

/** What the canvas draws of one VM, in words. */
function LaneWords({ vm }: { vm: Vm }) {
  // While somebody pans nobody reads it: it follows what is loaded, and the clock.
  void drawn.value
  const { since, until } = span.peek()
  const end = Math.min(until, shownAt.value)
  const sums = known.lane(vm.instance)?.sums(since, end)
  if (!sums) return html`not loaded`
  return html`${[...sums].map(([word, millis]) => `${word} ${lasting(millis)}`).join(', ')}`
}

/** Marks of time above the lanes. */
function Axis({ box }: { box: Signal<Box> }) {
  const view: View = { ...box.value, ...span.value, rows: 0 }
  if (!view.width) return null
  const marks = ticksOf(view)
  return html`<div class="axis" role="group" aria-label="time, in ${zoneName(view.until, utc.value)}">
    ${marks.filter(({ at }) => xOf(view, at) < view.width - 50).map(({ at, label }) => html`<span key=${at} style=${{ left: `${xOf(view, at)}px` }}>${label}</span>`)}
  </div>`
}
