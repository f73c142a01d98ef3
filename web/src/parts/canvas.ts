// The canvas of the lanes: drawn at most once a frame, and moved by pointer.

import { useSignal, useSignalEffect, type Signal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { makePalette, type Palette } from '../lanes/palette.ts'
import { paint } from '../lanes/paint.ts'
import { panned, rowAt, timeAt, xOf, zoomed, type View } from '../lanes/view.ts'
import { drawn, known, lastReport } from '../model/lanes.ts'
import { go, heard, moved, nameOf, now, place, rows, span, theme, utc } from '../model/state.ts'
import { BY_CODE } from '../model/states.ts'
import { clock, lasting, ticks, type Tick } from '../model/time.ts'
import { html } from './html.ts'

/** Marks of time, as many as there is room for. */
export function ticksOf({ since, until, width }: Pick<View, 'since' | 'until' | 'width'>): Tick[] {
  return ticks(since, until, Math.max(2, Math.floor(width / 90)), utc.value)
}

interface Tip { x: number; y: number; lines: string[] }

/** How much of the list is in sight. */
export type Box = Pick<View, 'width' | 'height' | 'scroll' | 'row'>

export function Canvas({ box }: { box: Signal<Box> }) {
  const element = useRef<HTMLCanvasElement>(null)
  const palette = useRef<Palette | null>(null)
  const image = useRef<ImageData | null>(null)
  const frame = useRef(0)
  const tip = useSignal<Tip | null>(null)
  const view = (): View => ({ ...box.peek(), ...span.peek(), rows: rows.peek().length })

  const draw = (): void => {
    frame.current = 0
    const canvas = element.current
    const seen = view()
    if (!canvas || !seen.width) return
    const ratio = window.devicePixelRatio || 1
    const [width, height] = [Math.round(seen.width * ratio), Math.round(seen.height * ratio)]
    const context = canvas.getContext('2d', { alpha: false, willReadFrequently: true })!
    let kept = image.current
    if (!kept || kept.width !== width || kept.height !== height) {
      ;[canvas.width, canvas.height] = [width, height]
      kept = image.current = context.createImageData(width, height)
    }
    if (palette.current?.ratio !== ratio) palette.current = makePalette(canvas, ratio)
    const list = rows.peek()
    const { moment, vm } = place.peek()
    paint({ data: new Uint32Array(kept.data.buffer), width, height }, {
      view: seen,
      chosen: list.findIndex((each) => each.instance === vm),
      lane: (row) => known.lane(list[row]!.instance),
      beside: place.peek().beside ? (row) => lastReport.lane(list[row]!.instance) : null,
      ticks: ticksOf(seen),
      cursor: moment ? moment.at : null,
      now: now.peek(),
      heard: heard.peek(),
    }, palette.current)
    context.putImageData(kept, 0, 0)
  }
  const soon = (): void => {
    if (!frame.current) frame.current = requestAnimationFrame(draw)
  }
  useSignalEffect(() => {
    void [box.value, drawn.value, now.value, heard.value, place.value, span.value, rows.value, utc.value]
    soon()
  })
  useSignalEffect(() => {
    void theme.value
    palette.current = null
    soon()
  })
  useEffect(() => {
    const dark = matchMedia('(prefers-color-scheme: dark)')
    const changed = (): void => {
      palette.current = null
      soon()
    }
    dark.addEventListener('change', changed)
    const canvas = element.current!
    const wheel = (event: WheelEvent): void => move(event, view())
    canvas.addEventListener('wheel', wheel, { passive: false })
    return () => {
      dark.removeEventListener('change', changed)
      canvas.removeEventListener('wheel', wheel)
      cancelAnimationFrame(frame.current)
    }
  }, [])

  const drag = useRef<{ x: number; moved: boolean } | null>(null)
  const down = (event: PointerEvent): void => {
    if (event.button !== 0) return
    drag.current = { x: event.offsetX, moved: false }
    element.current!.setPointerCapture(event.pointerId)
  }
  const over = (event: PointerEvent): void => {
    if (!drag.current) {
      tip.value = describe(view(), event.offsetX, event.offsetY)
      return
    }
    const by = event.offsetX - drag.current.x
    if (!drag.current.moved && Math.abs(by) < 4) return
    drag.current = { x: event.offsetX, moved: true }
    tip.value = null
    const { since, until, width } = view()
    moved.value = panned(span.value, (-by / width) * (until - since))
  }
  const up = (event: PointerEvent): void => {
    const was = drag.current
    drag.current = null
    if (!was || was.moved) return
    const vm = rows.value[rowAt(view(), event.offsetY)]
    const at = timeAt(view(), event.offsetX)
    go({ ...(vm ? { vm: vm.instance } : {}), moment: at < now.value ? { at: Math.round(at), position: null } : null })
  }
  return html`<div class="pane"><canvas ref=${element} aria-hidden="true" onPointerDown=${down} onPointerMove=${over} onPointerUp=${up}
      onPointerLeave=${() => { tip.value = null }} onDblClick=${() => { moved.value = null }}></canvas>
    ${tip.value && html`<div class="tip" aria-hidden="true" style=${{ transform: `translate(${tip.value.x}px, ${tip.value.y}px)` }}>
      ${tip.value.lines.map((line) => html`<div>${line}</div>`)}
    </div>`}</div>`
}

/** Wheels scroll the list, as everywhere; with Ctrl (or a pinch) they zoom, and sideways they pan. */
function move(event: WheelEvent, view: View): void {
  const sideways = event.shiftKey ? event.deltaY : event.deltaX
  if (event.ctrlKey) moved.value = zoomed(span.value, Math.exp(event.deltaY / 300), timeAt(view, event.offsetX))
  else if (Math.abs(sideways) > Math.abs(event.shiftKey ? 0 : event.deltaY)) {
    moved.value = panned(span.value, (sideways / view.width) * (view.until - view.since))
  } else return
  event.preventDefault()
}

function describe(view: View, x: number, y: number): Tip | null {
  const vm = rows.value[rowAt(view, y)]
  const lane = vm && known.lane(vm.instance)
  const at = timeAt(view, x)
  if (!lane || at > now.value) return null
  const index = lane.at(at)
  if (index < 0) return null
  const look = BY_CODE[lane.codes[index]!]!
  const end = index + 1 < lane.times.length ? lane.times[index + 1]! : now.value
  const lines = [
    `${nameOf(vm.instance).slice(0, 60)} · ${clock(at, utc.value, true)}`,
    `${look.letter} ${look.word}, ${lasting(end - lane.times[index]!)} from ${clock(lane.times[index]!, utc.value, true)}`,
  ]
  if (lane.whyAt(at)) lines.push(lane.whyAt(at))
  const other = place.value.beside ? lastReport.lane(vm.instance)?.codeAt(at) : undefined
  if (other !== undefined && other !== lane.codes[index]) lines.push(`${BY_CODE[other]!.word}, if the last report won`)
  const mark = lane.markNear(at, ((view.until - view.since) / view.width) * 6)
  if (mark >= 0) lines.push(`#${lane.markPositions[mark]} ${lane.markWords[mark]}`.slice(0, 160))
  const left = Math.min(xOf(view, at) + 14, view.width - 270)
  return { x: Math.max(0, left), y: y + 18 + (y > view.height - 100 ? -110 : 0), lines }
}
