// What drawing costs: the page's own table and lanes, with a fleet that is made up. Nothing of this is shipped.
//
// Frames are run by hand, so that a figure is work and never a wait for the screen: what a signal's change makes Preact
// and the canvas do, up to the last pixel.

import { options, render } from 'preact'
import { Lane, MARKS } from '../src/lanes/lane.ts'
import { panned } from '../src/lanes/view.ts'
import { known } from '../src/model/lanes.ts'
import { begin, fleet, moved, now, span } from '../src/model/state.ts'
import { BY_CODE } from '../src/model/states.ts'
import { Grid } from '../src/parts/grid.ts'
import { html } from '../src/parts/html.ts'
import type { Vm } from '../src/wire.ts'

declare global {
  interface Window { bench: (vms: number, segments: number, frames: number) => Promise<Figures> }
}

export interface Figures { first: number; pan: number[]; scroll: number[] }

let frames: FrameRequestCallback[] = []
const HOUR = 3_600_000

function run(): void {
  while (frames.length) {
    const due = frames
    frames = []
    for (const each of due) each(performance.now())
  }
  // A canvas may put off its work until somebody looks.
  document.querySelector('canvas')?.getContext('2d')?.getImageData(0, 0, 1, 1)
}

function made(number: number, segments: number, end: number): [Vm, Lane] {
  let seed = number * 7919 + 1
  const random = (): number => (seed = (seed * 16807) % 2147483647) / 2147483647
  const times = Float64Array.from({ length: segments }, () => end - random() * HOUR).sort()
  const codes = Uint8Array.from({ length: segments }, (_, index) => 1 + ((number + index * 3) % (BY_CODE.length - 2)))
  const lane = new Lane(times, codes, end)
  lane.markTimes = times
  lane.markKinds = Uint8Array.from({ length: segments }, (_, index) => index % MARKS.length)
  lane.markPositions = times
  lane.markWords = Array.from(times, () => 'event STOPPED (SHUTDOWN)')
  const instance = `${String(number).padStart(8, '0')}-0000-4000-8000-000000000000`
  const since = new Date(times.at(-1)!).toISOString()
  return [{
    instance, name: `vm-${String(number).padStart(4, '0')}`, host: 'kvm-07', power_state: 'RUNNING', vm_state: 'active', task_state: null,
    policy: 'nova-2013', since, observed_at: since, position: number, provisional: false, gone: false, drift: null, reason: null, note: '',
  }, lane]
}

window.bench = async (vms, segments, count) => {
  window.requestAnimationFrame = (callback) => frames.push(callback)
  options.debounceRendering = (callback) => callback()
  const end = Date.now()
  now.value = end
  begin.value = end - HOUR
  const all = Array.from({ length: vms }, (_, number) => made(number, segments, end))
  const page = document.getElementById('page')!

  const started = performance.now()
  for (const [vm, lane] of all) known.hold(vm.instance, lane, { since: end - HOUR, until: end }, Infinity)
  fleet.value = all.map(([vm]) => vm)
  render(html`<main><div id="view"><${Grid} /></div></main>`, page)
  run()
  // The size of the canvas is told by its observer, which comes with a frame of the browser's.
  await new Promise((done) => setTimeout(done, 0))
  run()
  const first = performance.now() - started

  const timed = (does: (frame: number) => void): number[] => Array.from({ length: count }, (_, frame) => {
    const began = performance.now()
    does(frame)
    run()
    return performance.now() - began
  })
  moved.value = { ...span.value }
  const pan = timed((frame) => { moved.value = panned(span.value, (frame % 2 ? -1 : 1.1) * 20_000) })
  const scroller = document.querySelector('.scroller')!
  const scroll = timed((frame) => {
    scroller.scrollTop = frame * 120
    scroller.dispatchEvent(new Event('scroll'))
  })
  return { first, pan, scroll }
}
