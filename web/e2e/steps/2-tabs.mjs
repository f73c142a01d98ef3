// Each tab, asked for the way a person does.
import assert from 'node:assert/strict'
import { step, until } from '../steps.mjs'

step('the fleet is a table and tiles, of the same VMs in the same states', async ({ visitor }) => {
  const page = await visitor.enter('read')
  const rows = await visitor.rows()
  await page.getByRole('button', { name: 'Tiles' }).click()
  const tiles = await page.locator('.tile').evaluateAll((found) => found.map((tile) => ({
    name: tile.querySelector('.name').textContent, says: tile.querySelector('.what').textContent,
  })))

  assert.deepEqual(tiles.map((tile) => tile.name), rows.map((row) => row.name))
  rows.forEach((row, index) => assert.ok(tiles[index].says.startsWith(row.state), `${tiles[index].says}: ${row.state}`))
  assert.equal(await visitor.parameter('view'), 'tiles')
})

step('the card of a VM says why it stopped, by what evidence, and leads to that position', async ({ visitor, world }) => {
  const page = await visitor.enter('read')
  await world.act('web-02', 'destroy')
  await visitor.sees('web-02', 'shut off')
  await page.locator('.row', { hasText: 'web-02' }).click()
  const card = page.getByRole('region', { name: 'Why' })
  await card.getByText('Evidence').waitFor()
  const told = await visitor.asks(`/v1/vms/${await visitor.parameter('vm')}/why`)

  assert.ok((await card.innerText()).includes(told.sentence))
  assert.equal(await card.locator('.evidence li').count(), told.evidence.length)
  const position = card.locator('.evidence .position').first()
  const named = (await position.innerText()).slice(1)
  await position.click()
  assert.equal(await visitor.parameter('t'), named)
  assert.equal(await visitor.pill(), 'PAST')
})

step('a lane has the colours of the states that its VM was in, where it was in them', async ({ visitor, world }) => {
  const page = await visitor.enter('read', { at: '/?q=web-03' })
  visitor.forgive(/willReadFrequently/) // which is for pages that do nothing else
  await world.act('web-03', 'suspend')
  await visitor.sees('web-03', 'paused')
  const words = await until(() => page.locator('.row .lane').innerText(), (said) => /running .*paused/.test(said))
  // The colour just before now, and one from when it ran.
  const colours = () => page.evaluate(() => {
    const canvas = document.querySelector('.pane canvas')
    const style = getComputedStyle(canvas)
    const is = (code) => {
      const probe = document.createElement('canvas').getContext('2d')
      probe.fillStyle = style.getPropertyValue(`--s${code}`).trim()
      probe.fillRect(0, 0, 1, 1)
      return [...probe.getImageData(0, 0, 1, 1).data].join()
    }
    const middle = Math.round(parseFloat(style.getPropertyValue('--row')) / 2 * devicePixelRatio)
    const line = canvas.getContext('2d').getImageData(0, middle, canvas.width, 1).data
    const seen = new Map()
    for (let x = 0; x < canvas.width; x += 1) {
      const colour = [...line.slice(4 * x, 4 * x + 4)].join()
      seen.set(colour, [...(seen.get(colour) ?? []), x])
    }
    const [running, paused] = [seen.get(is(1)) ?? [], seen.get(is(2)) ?? []]
    return { running: running.length, paused: paused.length, inOrder: Math.min(...running) < Math.min(...paused) }
  })
  const found = await until(colours, (said) => said.running > 20 && said.paused > 0)

  assert.ok(found.inOrder, `${words}: ${JSON.stringify(found)}`)
  await world.act('web-03', 'resume')
  await visitor.sees('web-03', 'running')
})

step('Replay compares two policies, and says where they differ', async ({ visitor, world }) => {
  const page = await visitor.enter('operate')
  const instance = (await visitor.rows()).find((row) => row.name === 'web-04').instance
  await world.declare(instance, 'paused', 'on purpose')
  await world.act('web-04', 'destroy')
  await visitor.sees('web-04', 'shut off')
  await visitor.tab('Replay')
  await page.getByRole('combobox').nth(0).selectOption('nova-2013')
  await page.getByRole('combobox').nth(1).selectOption('nova-2026')
  await page.getByRole('button', { name: /Replay all/ }).click()
  const table = page.getByRole('region', { name: 'Where they differ' })
  await table.locator('tbody tr', { hasText: 'web-04' }).first().waitFor()

  assert.match(await table.locator('tbody tr', { hasText: 'web-04' }).first().innerText(), /force_stop/)
  assert.match(await page.locator('.cells .differs').first().innerText(), /\S/)
})

step('Audit has the head of the chain, and verifies the whole log', async ({ visitor }) => {
  const page = await visitor.enter('admin')
  await visitor.tab('Audit')
  await page.getByRole('button', { name: 'Verify the whole log' }).click()
  const verdict = page.locator('.verdict[role=status]')
  await verdict.waitFor()

  assert.match(await verdict.innerText(), /✓ intact\s+[\d,]+ records of [\d,]+ streams were checked/)
  const head = Number((await page.locator('.figures dd').first().innerText()).replace(/\D/g, ''))
  assert.ok(head > 12, String(head))
})

step('Uptime has a row for each VM, and counts what was recorded', async ({ visitor }) => {
  const page = await visitor.enter('read')
  await visitor.tab('Uptime')
  const table = page.getByRole('region', { name: 'Uptime of each VM' })
  await table.locator('tbody tr').first().waitFor()
  const { items } = await visitor.asks('/v1/uptime?limit=1000')

  const names = await table.locator('tbody bdi').allInnerTexts()
  assert.deepEqual(names.toSorted(), items.map((row) => row.name).toSorted())
  await page.locator('.chart canvas').waitFor()
  assert.match(await page.locator('figcaption').innerText(), /^[1-9]\d* facts recorded/)
})
