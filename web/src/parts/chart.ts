// How many facts were recorded over time, by uPlot: storms and silences show at once.

import { useSignal, useSignalEffect } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import { ask, to } from '../model/ask.ts'
import { earliest, theme, utc } from '../model/state.ts'
import { clock, read, rfc3339 } from '../model/time.ts'
import { html } from './html.ts'

interface Growth { items: { at: string; position: number }[] }
const STEPS = 120

export function Chart({ length, until }: { length: number; until: number }) {
  const box = useRef<HTMLDivElement>(null)
  const data = useSignal<uPlot.AlignedData | null>(null)
  const wanted = useSignal({ length, until })
  if (wanted.peek().length !== length || wanted.peek().until !== until) wanted.value = { length, until }
  useSignalEffect(() => {
    const { length, until } = wanted.value
    if (!until) return
    const since = Math.max(until - length, earliest.peek())
    void ask<Growth>(to('/v1/growth', { since: rfc3339(since), until: rfc3339(until), steps: STEPS })).then(({ body }) => {
      const points = body.items
      data.value = [
        points.slice(1).map((each) => read(each.at) / 1000),
        points.slice(1).map((each, index) => each.position - points[index]!.position),
      ]
    }, () => { data.value = null })
  })
  useEffect(() => {
    const element = box.current
    if (!element || !data.value) return
    const style = getComputedStyle(element)
    const colour = (name: string): string => style.getPropertyValue(`--${name}`).trim()
    const times = (_: uPlot, at: number[]): string[] => at.map((each) => clock(each * 1000, utc.peek()).slice(0, length < 7.2e6 ? 8 : 5))
    const axis = { stroke: colour('faint'), grid: { stroke: colour('line'), width: 1 }, ticks: { show: false }, font: '11px system-ui' }
    const plot = new uPlot({
      width: element.clientWidth,
      height: 110,
      cursor: { y: false, points: { show: false } },
      legend: { show: false },
      axes: [{ ...axis, values: times, space: 70, size: 24 }, { ...axis, size: 44 }],
      series: [{}, { label: 'facts', stroke: colour('accent'), fill: colour('wash'), width: 1, paths: uPlot.paths.bars!({ size: [0.8] }), points: { show: false } }],
    }, data.value, element)
    const observer = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: 110 }))
    observer.observe(element)
    return () => {
      observer.disconnect()
      plot.destroy()
    }
  }, [data.value, theme.value, utc.value])
  if (!data.value) return null
  const counts = data.value[1] as number[]
  const all = counts.reduce((one, other) => one + other, 0)
  return html`<figure><figcaption>${all.toLocaleString('en')} facts recorded, at most ${Math.max(0, ...counts).toLocaleString('en')} in one of ${counts.length} parts of this time</figcaption>
    <div class="chart" ref=${box} aria-hidden="true"></div></figure>`
}
