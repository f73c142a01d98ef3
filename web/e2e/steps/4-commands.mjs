// Stop commands: who may say yes, and what becomes of it.
import assert from 'node:assert/strict'
import { step, until } from '../steps.mjs'

/** Have a command planned for a VM: it is vouched active, and is off. */
async function plan(visitor, world, name) {
  const { instance } = (await visitor.rows()).find((row) => row.name === name)
  await world.declare(instance, 'active', 'it is needed')
  await world.act(name, 'destroy')
  await visitor.sees(name, 'shut off')
  return visitor.page.locator('tbody tr', { has: visitor.page.getByRole('button', { name, exact: true }) }).first()
}

step('who may only read sees why approving is not for them', async ({ visitor, world }) => {
  const page = await visitor.enter('read')
  const row = await plan(visitor, world, 'web-06')
  await visitor.tab('Commands')
  const approve = row.getByRole('button', { name: 'Approve' })
  await approve.waitFor()

  assert.ok(await approve.isDisabled())
  assert.match(await approve.getAttribute('title'), /may only read: `es-power ui --role operate`/)
  await page.getByText('This session may only read').waitFor()
})

step('an operator approves a planned command, says why, and sees it confirmed', async ({ visitor, world }) => {
  const page = await visitor.enter('operate')
  const row = await plan(visitor, world, 'web-07')
  await visitor.tab('Commands')
  await row.getByRole('button', { name: 'Approve' }).click()
  const dialog = page.getByRole('dialog')
  assert.ok(await dialog.getByRole('button', { name: 'Approve' }).isDisabled(), 'it takes a reason')
  await dialog.getByRole('textbox').fill('ticket 4711')
  await dialog.getByRole('button', { name: 'Approve' }).click()
  await row.getByText('Confirmed').waitFor()
  await row.getByRole('button', { name: 'Show' }).click()
  const life = page.locator('.life li')
  await life.filter({ hasText: 'Confirmed' }).waitFor()

  assert.match(await life.filter({ hasText: 'Approved' }).innerText(), /by .+: ticket 4711/)
})

step('an operator rejects one, and it is not asked for again', async ({ visitor, world }) => {
  const page = await visitor.enter('operate')
  const row = await plan(visitor, world, 'web-08')
  await visitor.tab('Commands')
  await row.getByRole('button', { name: 'Reject' }).click()
  await page.getByRole('dialog').getByRole('textbox').fill('being repaired')
  await page.getByRole('dialog').getByRole('button', { name: 'Reject' }).click()
  await row.getByText('Withdrawn').waitFor()

  assert.equal(await row.getByRole('button', { name: 'Approve' }).count(), 0)
})

step('in the past a command is as it was then, and nothing can be approved', async ({ visitor, world }) => {
  const page = await visitor.enter('operate')
  const row = await plan(visitor, world, 'web-09')
  await visitor.tab('Commands')
  await row.getByRole('button', { name: 'Approve' }).waitFor()
  const { items } = await visitor.asks('/v1/events?after=0&limit=1000')
  await row.getByRole('button', { name: 'Reject' }).click()
  await page.getByRole('dialog').getByRole('textbox').fill('being repaired')
  await page.getByRole('dialog').getByRole('button', { name: 'Reject' }).click()
  await row.getByText('Withdrawn').waitFor()
  await page.goto(`${new URL(page.url()).origin}/?tab=commands&t=${items.at(-1).position}`)
  const approve = row.getByRole('button', { name: 'Approve' })
  await approve.waitFor()

  assert.equal(await row.locator('.step').innerText(), 'Planned')
  assert.ok(await approve.isDisabled())
  assert.match(await approve.getAttribute('title'), /the past/)
})
