// Without a pointer, and for readers.
import assert from 'node:assert/strict'
import { step, until } from '../steps.mjs'

step('all of it is done by keys alone: find, choose, look back, approve', async ({ visitor, world }) => {
  const page = await visitor.enter('operate')
  const { instance } = (await visitor.rows()).find((row) => row.name === 'web-10')
  await world.declare(instance, 'active', 'it is needed')
  await world.act('web-10', 'destroy')
  await visitor.sees('web-10', 'shut off')
  const press = (...keys) => keys.reduce((last, key) => last.then(() => page.keyboard.press(key)), Promise.resolve())
  const focused = () => page.evaluate(() => document.activeElement.textContent.trim() || document.activeElement.getAttribute('aria-label'))

  await press('/')
  await page.keyboard.type('web-10')
  await until(() => visitor.rows(), (rows) => rows.length === 1)
  await press('Escape', 'ArrowDown')
  await until(() => visitor.parameter('vm'), (said) => said === instance)
  await page.locator('.card .evidence li').first().waitFor()
  await press('ArrowLeft', 'ArrowLeft')
  assert.equal(await visitor.pill(), 'PAST')
  await press('l')
  assert.equal(await visitor.pill(), 'LIVE')
  await press('t')
  await page.locator('.tile').first().waitFor()
  await press('t', '?')
  assert.ok(await page.getByRole('dialog', { name: 'Keys' }).isVisible())
  await press('Escape')
  await page.getByRole('dialog').waitFor({ state: 'hidden' })
  await press('Escape')
  assert.equal(await visitor.parameter('vm'), null)
  for (const [key, tab] of [['3', 'Replay'], ['4', 'Audit'], ['5', 'Uptime'], ['2', 'Commands']]) {
    await press(key)
    await page.getByRole('tab', { name: tab, selected: true }).waitFor()
  }
  const row = page.locator('tbody tr', { hasText: 'web-10' }).first()
  await row.getByRole('button', { name: 'Approve' }).waitFor()
  const mine = () => row.getByRole('button', { name: 'Approve' }).evaluate((button) => button === document.activeElement)
  for (let tries = 0; !(await mine()); tries += 1) {
    assert.ok(tries < 80, `Tab never comes to the button; it is at ${await focused()}`)
    await press('Tab')
  }
  await press('Enter')
  await page.getByRole('dialog').waitFor()
  await page.keyboard.type('ticket 4712')
  await press('Enter')
  await row.getByText('Confirmed').waitFor()
})

step('what has the focus can be seen', async ({ visitor }) => {
  const page = await visitor.enter('operate')
  const unseen = []
  for (let turn = 0; turn < 30; turn += 1) {
    await page.keyboard.press('Tab')
    const found = await page.evaluate(() => {
      const element = document.activeElement
      const style = getComputedStyle(element)
      const has = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0
      return has || element === document.body ? null : element.outerHTML.slice(0, 120)
    })
    if (found) unseen.push(found)
  }

  assert.deepEqual(unseen, [])
})

step('a reader hears the table of the fleet: how long it is, and what each lane shows', async ({ visitor }) => {
  const page = await visitor.enter('read')
  const { items } = await visitor.asks('/v1/vms?limit=1000')
  const grid = page.getByRole('grid', { name: 'The fleet' })
  const lane = grid.locator('[role=row] [role=gridcell].lane').first()

  assert.equal(await grid.getAttribute('aria-rowcount'), String(items.length + 1))
  await until(() => lane.innerText(), (said) => /^(not there|running|paused|shut off|unknown) \d+/.test(said))
  assert.deepEqual(await page.locator('canvas:not([aria-hidden=true], .chart *)').count(), 0)
})
