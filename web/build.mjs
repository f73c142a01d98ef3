// Builds the page into the package: `node build.mjs [FOLDER]`. The same source gives the same bytes, on any machine.
// `node build.mjs FOLDER bench/lanes.ts` builds what measures it.
import { createHash } from 'node:crypto'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { minify } from 'terser'

const here = fileURLToPath(new URL('.', import.meta.url))
const [out = join(here, '../es_power/web/static'), main = 'src/main.ts'] = process.argv.slice(2)

const { outputFiles } = await build({
  absWorkingDir: here,
  entryPoints: [{ in: main, out: 'page' }, { in: 'src/style.css', out: 'style' }],
  outdir: 'out',
  bundle: true,
  minify: true,
  write: false,
  format: 'esm',
  target: ['chrome120', 'firefox121', 'safari17.4'],
  charset: 'utf8',
  legalComments: 'none',
})

const made = Object.fromEntries(outputFiles.map((file) => [file.path.replace(/.*\/(page|style)/, 'page'), file.text]))
// esbuild's own minifier leaves two kilobytes more, of the sixty that the page may have.
made['page.js'] = (await minify(made['page.js'], { module: true, ecma: 2022, compress: { passes: 3, unsafe_arrows: true } })).code
made['icon.svg'] = await readFile(join(here, 'src/icon.svg'), 'utf8')

// A file's name tells its content, so that a browser may keep it for ever.
const names = Object.fromEntries(Object.entries(made).map(([name, content]) => {
  const [stem, end] = name.split('.')
  return [name, `${stem}-${createHash('sha256').update(content).digest('hex').slice(0, 12)}.${end}`]
}))
const index = (await readFile(join(here, 'src/index.html'), 'utf8')).replace(/\{\{(.+?)\}\}/g, (_, name) => names[name])

await rm(out, { recursive: true, force: true })
await mkdir(out, { recursive: true })
for (const [name, content] of Object.entries(made)) await writeFile(join(out, names[name]), content)
await writeFile(join(out, 'index.html'), index)
await writeFile(join(out, 'THIRD_PARTY_LICENSES.txt'), await licences())

/** The licences of what is in the bundle, as their authors wrote them. */
async function licences() {
  const { dependencies } = JSON.parse(await readFile(join(here, 'package.json'), 'utf8'))
  const parts = []
  for (const name of [...Object.keys(dependencies), '@preact/signals-core'].sort()) {
    const folder = join(here, 'node_modules', name)
    const { version, license } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))
    const text = await readFile(join(folder, 'LICENSE'), 'utf8')
    parts.push(`${name} ${version} (${license})\n\n${text.trim()}\n`)
  }
  return `The page (page-*.js, page-*.css) contains:\n\n${parts.join(`\n${'-'.repeat(80)}\n\n`)}`
}
