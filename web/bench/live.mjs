// node live.mjs LINK ROUNDS FRAMES: the page on a service. It is opened so often, each time panned; then it stays open,
// and for each position that standard input has on a line, what memory it takes once it has heard of it. JSON, a line each.
import { createInterface } from 'node:readline'
import { launch } from '../e2e/chromium.mjs'

const [link, rounds, frames] = process.argv.slice(2)
const origin = new URL(link).origin
const browser = await launch()
const context = await browser.newContext({ viewport: { width: 1440, height: 900 } })
const page = await context.newPage()
page.setDefaultTimeout(0)
await page.goto(link)
await page.addInitScript(() => {
  // When rows were there first, and when what the lanes of all rows in sight show was.
  const look = () => {
    const lanes = [...document.querySelectorAll('.rows .row .lane')]
    if (lanes.length) globalThis.rowsAt ??= performance.now()
    if (lanes.length && lanes.every((lane) => lane.textContent !== 'not loaded')) globalThis.drawnAt = performance.now()
    else requestAnimationFrame(look)
  }
  requestAnimationFrame(look)
})

/** Pan by the wheel; the milliseconds of work of each frame, waiting for the screen left out. */
const pan = (count) => page.evaluate(async (count) => {
  const canvas = document.querySelector('.pane canvas')
  const found = []
  for (let turn = 0; turn < count; turn += 1) {
    await new Promise((done) => setTimeout(done, 20)) // what the frame before asked for is over
    found.push(await new Promise((done) => {
      const [after, handled] = [new MessageChannel(), new MessageChannel()]
      let [began, over] = [0, 0]
      // Asked for first, it runs before all that the page asks for; what is posted comes after the frame was painted.
      requestAnimationFrame(() => {
        began = performance.now()
        after.port2.postMessage(null)
      })
      const asked = performance.now()
      after.port1.onmessage = () => done(performance.now() - began + Math.min(over || Infinity, began) - asked)
      canvas.dispatchEvent(new WheelEvent('wheel', { deltaX: turn % 2 ? -30 : 33, bubbles: true, cancelable: true }))
      // What the event set off is over when this comes.
      handled.port1.onmessage = () => { over = performance.now() }
      handled.port2.postMessage(null)
    }))
  }
  return found
}, count)

const [first, rows, pans] = [[], [], []]
for (let round = 0; round < Number(rounds); round += 1) {
  await page.goto(origin)
  await page.waitForFunction(() => globalThis.drawnAt)
  first.push(await page.evaluate(() => globalThis.drawnAt))
  rows.push(await page.evaluate(() => globalThis.rowsAt))
  pans.push(await pan(Number(frames)))
}
const devtools = await context.newCDPSession(page)
await devtools.send('HeapProfiler.enable')

const open = new Set()
page.on('request', (request) => { if (!request.url().includes('/v1/stream')) open.add(request) })
for (const end of ['requestfinished', 'requestfailed']) page.on(end, (request) => open.delete(request))

async function memory() {
  // What was asked for is let go of once it was answered.
  for (let silent = 0; silent < 20; silent = open.size ? 0 : silent + 1) await new Promise((done) => setTimeout(done, 50))
  await devtools.send('HeapProfiler.collectGarbage')
  const { usedSize } = await devtools.send('Runtime.getHeapUsage')
  const { nodes } = await devtools.send('Memory.getDOMCounters')
  return { heap: usedSize, nodes }
}

console.log(JSON.stringify({ first, rows, pans, ...(await memory()) }))
for await (const line of createInterface({ input: process.stdin })) {
  await page.waitForFunction((position) => Number(document.querySelector('.facts .fact b').textContent.replace(/\D/g, '')) >= position, Number(line))
  console.log(JSON.stringify(await memory()))
}
await browser.close()
