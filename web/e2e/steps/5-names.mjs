// Names that are meant to do harm.
import assert from 'node:assert/strict'
import { step } from '../steps.mjs'

const HOSTILE = {
  html: '<img src=x onerror=alert(1)>',
  script: '"><script>alert(1)<\\script>',
  entity: 'a&lt;b&gt;&amp;c',
  bidi: '\u202Egnp.exe\u2066',
  long: 'x'.repeat(5000),
}

step('a hostile name stays text wherever it is shown', async ({ visitor, world }) => {
  for (const name of Object.values(HOSTILE)) await world.define(name)
  const page = await visitor.enter('operate')
  for (const [kind, name] of Object.entries(HOSTILE)) {
    if (kind !== 'long') await visitor.sees(name, 'running')
  }
  const instance = (await visitor.rows()).find((row) => row.name === HOSTILE.html).instance
  await world.declare(instance, 'active', HOSTILE.script)
  await world.act(HOSTILE.html, 'destroy')
  await visitor.sees(HOSTILE.html, 'shut off')

  const nothingBut = async (where) => {
    assert.equal(await page.locator('img, script:not([src]), iframe, object').count(), 0, where)
    const wide = await page.evaluate(() => document.scrollingElement.scrollWidth - innerWidth)
    assert.ok(wide <= 0, `${where} is ${wide} pixels too wide`)
  }
  await page.locator('.row', { hasText: HOSTILE.html }).click()
  assert.equal(await page.locator('.card h2').innerText(), HOSTILE.html)
  await nothingBut('the card')
  await page.getByRole('button', { name: 'Tiles' }).click()
  assert.ok((await page.locator('.tile .name').allInnerTexts()).includes(HOSTILE.html))
  await nothingBut('the tiles')
  await visitor.tab('Commands')
  const row = page.locator('tbody tr', { hasText: HOSTILE.html }).first()
  await row.getByRole('button', { name: 'Show' }).click()
  await row.getByRole('button', { name: 'Approve' }).click()
  assert.ok((await page.getByRole('dialog').innerText()).includes(HOSTILE.html))
  await nothingBut('the commands')
  await page.keyboard.press('Escape')
  await visitor.tab('Uptime')
  await page.locator('tbody tr', { hasText: HOSTILE.html }).waitFor()
  await nothingBut('the uptime')
  await visitor.tab('Fleet')
})

step('a name that writes from right to left turns nothing around beside it', async ({ visitor }) => {
  const page = await visitor.enter('read', { at: `/?q=${encodeURIComponent('gnp.exe')}` })
  const row = page.locator('.row').first()
  const [state, name, since] = await Promise.all(['state', 'name', 'since'].map((part) => row.locator(`[role=gridcell].${part}`).boundingBox()))

  assert.equal(await page.locator('.row').count(), 1)
  assert.ok(state.x < name.x && name.x < since.x)
  const isolated = await row.locator('.name bdi').evaluate((element) => getComputedStyle(element).unicodeBidi)
  assert.equal(isolated, 'isolate')
})
