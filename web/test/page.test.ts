import { deepEqual, equal, ok } from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { readMoment, written } from '../src/model/moment.ts'
import { Ring } from '../src/model/ring.ts'
import { BY_CODE, codeOf, LOOKS, lookOf } from '../src/model/states.ts'
import { clock, lasting, stamp, ticks, zoneName } from '../src/model/time.ts'
import { fromQuery, HOME, toQuery, type Place } from '../src/model/url.ts'

const NOON = Date.parse('2026-11-22T12:00:00Z')

test('no two states share a letter, a pattern or a code', () => {
  for (const part of ['code', 'letter', 'pattern', 'word'] as const) {
    equal(new Set(BY_CODE.map((look) => look[part])).size, BY_CODE.length)
  }
  deepEqual(BY_CODE.map((look) => look.code), BY_CODE.map((_, index) => index))
})

test('a state is called as the command line calls it: a guest that sleeps was not saved', () => {
  equal(lookOf('SUSPENDED').word, 'suspended')
})

test('a state that this page never heard of is unknown, and none is none', () => {
  equal(lookOf('DREAMING'), LOOKS['UNKNOWN'])
  equal(codeOf(null), 0)
})

/** The colours of one theme, by their names. */
async function colours(theme: 'light' | 'dark'): Promise<Map<string, string>> {
  const css = await readFile(`${process.cwd()}/src/style.css`, 'utf8')
  const block = theme === 'light' ? css.slice(css.indexOf(':root {')) : css.slice(css.indexOf(":root[data-theme='dark']"))
  const found = block.slice(0, block.indexOf('}')).matchAll(/--([a-z0-9]+): (#[0-9a-f]{6});/g)
  return new Map([...found].map(([, name, colour]) => [name!, colour!]))
}

function luminance(colour: string): number {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const share = parseInt(colour.slice(at, at + 2), 16) / 255
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * red! + 0.7152 * green! + 0.0722 * blue!
}

function contrast(one: string, other: string): number {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b)
  return (light! + 0.05) / (dark! + 0.05)
}

for (const theme of ['light', 'dark'] as const) {
  test(`every text can be read, ${theme}`, async () => {
    const of = await colours(theme)
    for (const ink of ['ink', 'soft', 'faint', 'accent', 'live', 'alarm', 'command', 'warn']) {
      for (const ground of ['paper', 'sheet']) ok(contrast(of.get(ink)!, of.get(ground)!) >= 4.5, `${ink} on ${ground}`)
    }
    for (const { code, letter } of BY_CODE) {
      if (letter) ok(contrast(of.get(`t${code}`)!, of.get(`s${code}`)!) >= 4.5, `letter ${letter}`)
    }
  })
}

test('both ways to be dark are the same', async () => {
  const css = await readFile(`${process.cwd()}/src/style.css`, 'utf8')
  const [one, other] = [":root:not([data-theme='light']) {", ":root[data-theme='dark'] {"].map((head) => {
    const begin = css.indexOf(head) + head.length
    return css.slice(begin, css.indexOf('}', begin)).replace(/\s+/g, ' ')
  })
  equal(one, other)
})

test('a place goes into the URL and comes back', () => {
  const vm = '7f1c1c52-6ad5-4c0b-9df1-2f0f5e8b6f3a'
  const places: Place[] = [
    HOME,
    { ...HOME, tab: 'audit', filter: 'a&b=#?%00 é', tiles: true, beside: true },
    { ...HOME, moment: { at: NOON + 5, position: null }, knownThen: true, vm, span: 3_600_000 },
  ]
  for (const place of places) deepEqual(fromQuery(toQuery(place)), place)
  equal(toQuery(HOME), '')
  ok(toQuery(places[2]!).startsWith('?t=2026-11-22T12:00:00.005Z'))
})

test('what a URL should not have is as if it were not there', () => {
  deepEqual(fromQuery('?tab=evil&t=yesterday&vm=../../x&span=-4&known=maybe&view=<b>&beside=x'), HOME)
  deepEqual(fromQuery('?t=2026-11-22T12:00:00').moment, null)
})

test('a moment is a time or a position', () => {
  deepEqual(readMoment('48211'), { at: NaN, position: 48211 })
  deepEqual(readMoment('2026-11-22T13:00:00+01:00'), { at: NOON, position: null })
  equal(written({ at: NOON, position: 7 }), '7')
  equal(written({ at: NOON, position: null }), '2026-11-22T12:00:00.000Z')
})

test('a ring keeps what came last', () => {
  const ring = new Ring<number>(100)
  for (let count = 0; count < 10_000; count += 7) ring.push(Array.from({ length: 7 }, (_, index) => count + index))
  ok(ring.items.length >= 100 && ring.items.length <= 125 + 7)
  equal(ring.items.at(-1), 10_002)
  ring.push(Array.from({ length: 5000 }, (_, index) => index))
  deepEqual([ring.items.length, ring.items[0]], [100, 4900])
})

test('ticks are on round times, and few enough', () => {
  for (const length of [3_000, 60_000, 3_600_000, 86_400_000, 30 * 86_400_000, 365 * 86_400_000]) {
    const found = ticks(NOON + 1234, NOON + 1234 + length, 8, true)
    ok(found.length >= 2 && found.length <= 9, `${length}: ${found.length}`)
    ok(found.every(({ at }) => at >= NOON + 1234 && at <= NOON + 1234 + length))
  }
  deepEqual(ticks(NOON, NOON + 60_000, 4, true).map(({ label }) => label), ['12:00:00', '12:00:15', '12:00:30', '12:00:45', '12:01:00'])
  deepEqual(ticks(NOON, NOON + 86_400_000, 4, true).map(({ label }) => label), ['12:00', '18:00', '2026-11-23 00:00', '06:00', '12:00'])
})

test('times are said in the zone that is named', () => {
  equal(clock(NOON + 7, true, true), '12:00:00.007')
  equal(stamp(NOON, true), '2026-11-22 12:00:00')
  equal(zoneName(NOON, true), 'UTC')
  equal(clock(NaN, true), '–')
})

test('what lasted is said in its two largest units', () => {
  const said = [0, 999, 59_000, 61_000, 3_599_000, 3_600_000, 5_400_000, 86_400_000, 90_000_000].map(lasting)
  deepEqual(said, ['0s', '0s', '59s', '1m 1s', '59m', '1h', '1h 30m', '1d', '1d 1h'])
})
