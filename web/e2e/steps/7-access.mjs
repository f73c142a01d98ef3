// What axe-core finds, in every view.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { readFile } from 'node:fs/promises'
import { step } from '../steps.mjs'

const AXE = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

async function found(page, rules) {
  await page.evaluate(AXE)
  const { violations } = await page.evaluate((only) => globalThis.axe.run(document, { resultTypes: ['violations'], ...only }), rules)
  return violations
    .filter((each) => ['serious', 'critical'].includes(each.impact))
    .map((each) => `${each.impact} ${each.id}: ${each.nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} ${node.any[0]?.message ?? ''}`).join(' | ')}`)
}

/** Look at each view, and have everything that can be opened open once. */
async function everywhere(visitor, rules = {}) {
  const { page } = visitor
  const all = []
  const look = async (where) => all.push(...(await found(page, rules)).map((each) => `${where}: ${each}`))
  await page.keyboard.press('j')
  await page.locator('.card .why').waitFor()
  await look('the fleet')
  await page.keyboard.press('ArrowLeft')
  await look('the past')
  await page.keyboard.press('l')
  await page.keyboard.press('t')
  await page.locator('.tile').first().waitFor()
  await look('tiles')
  await page.keyboard.press('?')
  await look('the keys')
  await page.keyboard.press('Escape')
  await page.getByRole('dialog').waitFor({ state: 'hidden' })
  await page.keyboard.press('2')
  await page.locator('tbody tr').first().waitFor()
  await page.getByRole('button', { name: 'Show' }).first().click()
  await page.locator('.life li').first().waitFor()
  await look('commands')
  for (const [key, ready] of [['3', '.cells'], ['4', '.figures'], ['5', '.chart canvas']]) {
    await page.keyboard.press(key)
    await page.locator(ready).first().waitFor()
    await look(await page.getByRole('tab', { selected: true }).innerText())
  }
  return all
}

step('axe finds nothing serious in light colours', async ({ visitor }) => {
  await visitor.enter('operate')
  assert.deepEqual(await everywhere(visitor), [])
})

step('axe finds nothing serious in dark colours', async ({ visitor }) => {
  await visitor.enter('operate', { colours: 'dark' })
  // Everything else is as it is in light ones.
  assert.deepEqual(await everywhere(visitor, { runOnly: ['color-contrast'] }), [])
})

step('axe finds nothing serious at the width of a phone, and nothing has to be scrolled sideways', async ({ visitor }) => {
  const page = await visitor.enter('operate', { phone: true })
  assert.deepEqual(await everywhere(visitor), [])
  for (const key of ['1', '2', '3', '4', '5']) {
    await page.keyboard.press(key)
    const wide = await page.evaluate(() => document.scrollingElement.scrollWidth - innerWidth)
    assert.ok(wide <= 0, `view ${key} is ${wide} pixels too wide`)
  }
})
