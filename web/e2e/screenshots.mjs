// node screenshots.mjs LINK VM FOLDER: the page as a person at a desk sees it, in light and in dark, and one with a phone.
import { join } from 'node:path'
import { launch } from './chromium.mjs'

const [link, vm, folder] = process.argv.slice(2)
const browser = await launch()
const desk = { viewport: { width: 1360, height: 820 } }
const first = await browser.newContext(desk)
const entered = await first.newPage()
await entered.goto(link)
await entered.locator('.grid .rows .row').first().waitFor()
const session = await first.storageState() // a link is good once
const origin = new URL(link).origin

/** Wait until all was answered that the page asked; what it follows is never over. */
async function quiet(open) {
  for (let silent = 0; silent < 20; silent = open.size ? 0 : silent + 1) await new Promise((done) => setTimeout(done, 50))
}

async function shoot(name, options, query, look) {
  const context = await browser.newContext({ ...options, storageState: session })
  const page = await context.newPage()
  const open = new Set()
  page.on('request', (request) => { if (!request.url().includes('/v1/stream')) open.add(request) })
  for (const end of ['requestfinished', 'requestfailed']) page.on(end, (request) => open.delete(request))
  await page.goto(`${origin}/${query}`)
  const row = page.locator('.grid .rows .row', { hasText: vm }).first()
  await row.waitFor()
  await look(page, row)
  await page.waitForFunction(() => [...document.querySelectorAll('.row .lane')].every((lane) => lane.textContent !== 'not loaded'))
  await quiet(open)
  await page.screenshot({ path: join(folder, `${name}.png`) })
  await context.close()
}

const why = async (page, row) => {
  await row.click()
  await page.locator('.card .evidence li').first().waitFor()
}
await shoot('page-light', { ...desk, colorScheme: 'light' }, '', why)
await shoot('page-dark', { ...desk, colorScheme: 'dark' }, '', why)
// So few rows have room there that the one that is looked at has to be found.
const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, colorScheme: 'light' }
await shoot('page-phone', phone, `?q=${vm.slice(0, -1)}`, why)
await browser.close()
