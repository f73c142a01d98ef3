// Any moment of the past.
import assert from 'node:assert/strict'
import { step, until } from '../steps.mjs'

/** Move the slider to a time within these two, and say which: its steps are not known here, and time goes on meanwhile. */
async function slideInto(visitor, since, until_) {
  const slider = visitor.page.getByRole('slider', { name: 'as of' })
  const shown = async (place) => {
    await slider.fill(String(place))
    return visitor.parameter('t')
  }
  const wanted = (Date.parse(since) + Date.parse(until_)) / 2
  const begin = Date.parse(await shown(0))
  for (let [place, tries] = [5000, 0]; tries < 20; tries++) {
    const at = await shown(place)
    if (at >= since && at < until_) return at
    place = Math.min(9999, Math.max(1, Math.round((place * (wanted - begin)) / (Date.parse(at) - begin))))
  }
  throw new Error(`no step of the slider is between ${since} and ${until_}`)
}

const statesOf = (rows) => rows.map((row) => `${row.instance} ${row.state}`)
const WORDS = { RUNNING: 'running', PAUSED: 'paused', SHUTDOWN: 'shut off', CRASHED: 'crashed', SUSPENDED: 'suspended' }

step('the slider turns the whole page into that moment, which its URL carries, and LIVE leads back', async ({ visitor, world }) => {
  const page = await visitor.enter('read')
  const { instance } = (await visitor.rows()).find((row) => row.name === 'web-05')
  await world.act('web-05', 'suspend')
  await visitor.sees('web-05', 'paused')
  await world.act('web-05', 'destroy')
  await visitor.sees('web-05', 'shut off')
  const { items } = await visitor.asks(`/v1/timeline?vms=${instance}`)
  const paused = items.findLast((segment) => segment.power_state === 'PAUSED')
  const shown = await slideInto(visitor, paused.since, paused.until)
  await visitor.sees('web-05', 'paused')

  const then = await visitor.asks(`/v1/vms?limit=1000&as_of=${shown}`)
  assert.equal(await visitor.pill(), 'PAST')
  assert.deepEqual(statesOf(await visitor.rows()), then.items.map((vm) => `${vm.instance} ${WORDS[vm.power_state]}`))

  await page.reload()
  await visitor.sees('web-05', 'paused')
  assert.equal(await visitor.pill(), 'PAST')
  await page.locator('.pill').click()
  await visitor.sees('web-05', 'shut off')
  assert.equal(await visitor.pill(), 'LIVE')
  assert.equal(await visitor.parameter('t'), null)
})

step('a position of the log is a moment too, and arrows step from event to event', async ({ visitor }) => {
  const page = await visitor.enter('read')
  const { items } = await visitor.asks('/v1/events?after=0&limit=1000')
  const [before, last] = items.slice(-2)
  await page.keyboard.press('ArrowLeft')
  await until(() => visitor.parameter('t'), (said) => said !== null)

  assert.equal(await visitor.parameter('t'), String(before.position))
  await page.keyboard.press('ArrowRight')
  assert.equal(await visitor.parameter('t'), String(last.position))
  await page.keyboard.press('ArrowRight')
  assert.equal(await visitor.parameter('t'), null)
  await page.goto(`${new URL(page.url()).origin}/?t=1`)
  await until(() => visitor.pill(), (said) => said === 'PAST')
  await until(() => visitor.rows(), (rows) => rows.length === 0)
})
