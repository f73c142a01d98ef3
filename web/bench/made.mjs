// node made.mjs VMS SEGMENTS FRAMES: what `lanes.ts` measures in Chromium, as JSON.
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { launch } from '../e2e/chromium.mjs'

const file = (name) => fileURLToPath(new URL(name, import.meta.url))
const { outputFiles } = await build({ entryPoints: [file('lanes.ts')], bundle: true, minify: true, write: false, format: 'esm' })
const style = await readFile(file('../src/style.css'), 'utf8')

const browser = await launch()
const page = await browser.newPage({ viewport: { width: 1440, height: 900 } })
// A page of somebody's, since storage belongs to an origin.
await page.route('http://localhost/**', (route) => route.fulfill({
  contentType: 'text/html', body: `<!doctype html><html data-theme="light"><style>${style}</style><div id="page"></div></html>`,
}))
await page.goto('http://localhost/')
// A module runs when the page comes to it, which may be after it was added.
await page.addScriptTag({ type: 'module', content: outputFiles[0].text })
await page.waitForFunction(() => globalThis.bench)
console.log(JSON.stringify(await page.evaluate((sizes) => globalThis.bench(...sizes), process.argv.slice(2).map(Number))))
await browser.close()
