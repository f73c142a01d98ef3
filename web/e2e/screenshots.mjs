// node screenshots.mjs LINK VM FOLDER: the page as a person at a desk sees it, in light and in dark, and one with a phone.
import { join } from 'node:path'
import { launch } from './chromium.mjs'

const [link, vm, folder] = process.argv.slice(2)
const browser = await launch()
const desk = { viewport: { width: 1440, height: 900 } }
const first = await browser.newContext(desk)
const entered = await first.newPage()
await entered.goto(link)
await entered.locator('.grid .rows .row').first().waitFor()
const session = await first.storageState() // a link is good once
const origin = new URL(link).origin

async function shoot(name, options, look) {
  const context = await browser.newContext({ ...options, storageState: session })
  const page = await context.newPage()
  await page.goto(`${origin}/`)
  const row = page.locator('.grid .rows .row', { hasText: vm }).first()
  await row.waitFor()
  await look(page, row)
  // What is in sight is drawn when it has come.
  await page.waitForFunction(() => [...document.querySelectorAll('.row .lane')].every((lane) => lane.textContent !== 'not loaded'))
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))))
  await page.screenshot({ path: join(folder, `${name}.png`) })
  await context.close()
}

const why = async (page, row) => {
  await row.click()
  await page.locator('.card .evidence li').first().waitFor()
}
await shoot('page-light', { ...desk, colorScheme: 'light' }, why)
await shoot('page-dark', { ...desk, colorScheme: 'dark' }, why)
await shoot('page-phone', { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, colorScheme: 'light' }, why)
await browser.close()
