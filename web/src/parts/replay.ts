// What another policy would have done with the same facts, beside the one that ruled.

import { html } from './html.ts'
import { Empty } from './small.ts'

export function Replay() {
  return html`<section class="panel" aria-label="Replay"><header><h2>Replay</h2></header><${Empty}>…<//></section>`
}
