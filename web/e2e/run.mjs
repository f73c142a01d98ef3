// Takes steps as it is told on standard input, a line each, and says how each ended: `node run.mjs URL`.
//
// A line is {"step": NAME}, and the answer {"failed": TEXT or null}; before it a step may ask for something to happen to
// the service or its host: {"ask": WHAT, "with": [...]}, which a line {"answer": ...} says was done.
import { readdir } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { launch } from './chromium.mjs'
import { steps } from './steps.mjs'
import { Visitor } from './visitor.mjs'

for (const name of (await readdir(new URL('steps', import.meta.url))).sort()) await import(`./steps/${name}`)

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`)

/** What may happen to the service and its host: each is a method of the test's `World`. */
const world = new Proxy({}, {
  get: (_, ask) => async (...all) => {
    say({ ask, with: all })
    const { value } = await lines.next()
    return JSON.parse(value).answer
  },
})

const browser = await launch()
for (let line = await lines.next(); !line.done; line = await lines.next()) {
  const { step } = JSON.parse(line.value)
  const visitor = new Visitor(browser, process.argv[2], world)
  let failed = null
  try {
    await steps.get(step)({ visitor, world })
    visitor.assertContent()
  } catch (error) {
    failed = [error.stack, ...visitor.complaints].join('\n')
  } finally {
    await visitor.leave()
  }
  say({ failed })
}
await browser.close()
