// The service is killed, and comes again.
import assert from 'node:assert/strict'
import { step, until } from '../steps.mjs'

/** What a browser says of a service that is gone. */
const GONE = /ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE_CHUNKED_ENCODING/

/** All positions in the list of events, oldest first: it is scrolled through, since only what is in sight is there. */
async function listed(page) {
  const found = await page.locator('.events ol').evaluate(async (list) => {
    const seen = new Map()
    const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))
    for (let top = 0; ; top += list.clientHeight / 2) {
      list.scrollTop = top
      await frame()
      await frame()
      for (const line of list.querySelectorAll('li:not(.tall)')) {
        seen.set(Number(line.style.transform.match(/\d+/)[0]), Number(line.querySelector('.pos').textContent.slice(1)))
      }
      if (top + list.clientHeight >= list.scrollHeight) break
    }
    list.scrollTop = 0
    return [...seen].sort(([one], [other]) => other - one).map(([, position]) => position)
  })
  return found
}

step('a killed service is seen to be gone, and what happened meanwhile comes exactly once', async ({ visitor, world }) => {
  visitor.forgive(GONE)
  const page = await visitor.enter('read')
  const { instance } = (await visitor.rows()).find((row) => row.name === 'web-11')
  const before = (await listed(page)).at(-1)
  await world.kill()
  await until(() => visitor.pill(), (said) => said.startsWith('LOST'))
  await world.act('web-11', 'destroy')
  for (const why of ['one', 'two', 'three']) await world.declare(instance, 'stopped', why)

  await world.start()
  await until(() => visitor.pill(), (said) => said === 'LIVE')
  await visitor.sees('web-11', 'shut off')
  await world.act('web-12', 'suspend')
  await visitor.sees('web-12', 'paused')

  const { items } = await visitor.asks(`/v1/events?after=${before}&limit=1000`)
  const since = await until(async () => (await listed(page)).filter((position) => position > before), (said) => said.length >= items.length)
  assert.deepEqual(since.slice(0, items.length), items.map((fact) => fact.position))
  assert.deepEqual(since, since.map((_, index) => before + 1 + index))
  assert.equal(items.filter((fact) => fact.kind === 'RecordDeclared').length, 3)
})

step('a session that ended is said to have, and a link in another tab brings all tabs back', async ({ visitor, world }) => {
  visitor.forgive(GONE)
  visitor.forgive(/status of 401/)
  const page = await visitor.enter('operate')
  await page.evaluate(async () => {
    const { csrf } = await (await fetch('/v1/session')).json()
    await fetch('/v1/session', { method: 'DELETE', headers: { 'X-CSRF-Token': csrf } })
  })
  await world.kill()
  await world.start()
  await page.getByText('es-power ui').first().waitFor()

  await (await visitor.another(await world.link('operate'))).close()
  await until(() => visitor.pill(), (said) => said === 'LIVE')
  await world.act('web-12', 'destroy')
  await visitor.sees('web-12', 'shut off')
})

step('what breaks the policy, complains or asks elsewhere is noticed', async ({ visitor }) => {
  const page = await visitor.enter('read')
  await page.evaluate(() => {
    const script = document.createElement('script')
    script.textContent = 'alert(1)'
    document.body.append(script)
    console.error('a complaint')
  })
  await page.goto('http://127.0.0.1:9/').catch(() => null)
  const noticed = visitor.complaints.splice(0).join('\n')

  assert.match(noticed, /Content Security Policy/)
  assert.match(noticed, /a complaint/)
  assert.match(noticed, /it asked http:\/\/127\.0\.0\.1:9\//)
})
