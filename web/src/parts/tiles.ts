// The fleet as tiles: for a wall, where a state is to be seen from the other end of the room.

import { causeOf, causesKnown, wantCauses } from '../model/causes.ts'
import { go, openByVm, place, rows } from '../model/state.ts'
import { classOf, lookOf } from '../model/states.ts'
import { html } from './html.ts'
import { Since } from './small.ts'
import { useSignal, useSignalEffect } from '@preact/signals'

const AT_ONCE = 600

export function Tiles() {
  const most = useSignal(AT_ONCE)
  useSignalEffect(() => wantCauses(rows.value.slice(0, 100)))
  void causesKnown.value
  const more = rows.value.length - most.value
  return html`<div class="tiles-box">
    <ul class="tiles" aria-label="The fleet">
      ${rows.value.slice(0, most.value).map((vm) => {
        const look = lookOf(vm.power_state)
        const why = causeOf(vm)
        return html`<li key=${`${vm.instance} ${vm.host}`}>
          <button type="button" class="tile ${classOf(vm.power_state)} ${vm.drift || openByVm.value.has(vm.instance) ? 'drifts' : ''}"
              aria-pressed=${place.value.vm === vm.instance} title=${vm.note || why?.sentence || look.word}
              onClick=${() => go({ vm: vm.instance })}>
            <span class="letter ${classOf(vm.power_state)}" aria-hidden="true">${look.letter}</span>
            <span class="name"><bdi>${(vm.name ?? vm.instance).slice(0, 60)}</bdi></span>
            <span class="what">${look.word} <${Since} at=${vm.since} /></span>
            ${why ? html`<span class="what">${why.cause}</span>` : ''}
          </button>
        </li>`
      })}
    </ul>
    ${more > 0 ? html`<button type="button" class="more" onClick=${() => { most.value += AT_ONCE }}>show ${more} more</button>` : ''}
  </div>`
}
