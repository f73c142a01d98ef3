// The fleet, live.
import assert from 'node:assert/strict'
import { step, until } from '../steps.mjs'

step('it is let in by its link, and shows every VM as the service has it', async ({ visitor }) => {
  await visitor.enter('read')
  const { items } = await visitor.asks('/v1/vms?limit=1000')

  assert.equal(await visitor.pill(), 'LIVE')
  assert.deepEqual((await visitor.rows()).map((row) => row.instance), items.map((vm) => vm.instance))
})

step('what happens to a VM is shown at once, in its row and in the list of events', async ({ visitor, world }) => {
  const page = await visitor.enter('read')
  await world.act('web-01', 'suspend')
  await visitor.sees('web-01', 'paused')
  await page.locator('.events li', { hasText: 'web-01' }).filter({ hasText: 'SUSPENDED' }).first().waitFor()
  await world.act('web-01', 'resume')
  await visitor.sees('web-01', 'running')
})
