// The keys, as `?` shows them, and what the drawing means.

import { useLayoutEffect, useRef } from 'preact/hooks'
import { help } from '../model/state.ts'
import { BY_CODE } from '../model/states.ts'
import { KEYS } from '../model/keys.ts'
import { html } from './html.ts'

export function Help() {
  const dialog = useRef<HTMLDialogElement>(null)
  useLayoutEffect(() => {
    if (help.value) dialog.current?.showModal()
    else dialog.current?.close()
  }, [help.value])
  return html`<dialog ref=${dialog} class="help" aria-labelledby="keys" onClose=${() => { help.value = false }}>
    <header><h2 id="keys">Keys</h2><button type="button" class="quiet" aria-label="close" onClick=${() => { help.value = false }}>×</button></header>
    <div class="two">
      <dl>${KEYS.filter((key) => key.says).map((key) => html`<div><dt>${(key.shown ?? key.keys).map((each) => html`<kbd>${each}</kbd>`)}</dt><dd>${key.says}</dd></div>`)}</dl>
      <div>
        <h3>Lanes</h3>
        <ul class="legend">
          ${BY_CODE.filter((look) => look.letter).map((look) => html`<li><span class="chip s${look.code}" aria-hidden="true">${look.letter}</span> ${look.word}${look.code === 7 ? ': nobody could see it' : look.code === 8 ? ': zoom in' : ''}</li>`)}
        </ul>
        <h3>Marks</h3>
        <ul class="legend">
          <li><span class="sign event">◆</span> an event that libvirt sent</li>
          <li><span class="sign observation">○</span> an observation</li>
          <li><span class="sign missed">◎</span> an observation of what no event announced</li>
          <li><span class="sign missed">⊘</span> a stale observation, refused</li>
          <li><span class="sign command">▼</span> a stop command</li>
        </ul>
        <p class="faint">Drag to pan, Ctrl and the wheel to zoom, double-click to see all.</p>
      </div>
    </div>
  </dialog>`
}
