// Runs the tests of the page's modules that need no browser: each is bundled, since node reads no TypeScript.
import { spawnSync } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const here = fileURLToPath(new URL('.', import.meta.url))
const out = await mkdtemp(join(tmpdir(), 'es-power-page-'))
try {
  const entryPoints = (await readdir(here)).filter((name) => name.endsWith('.test.ts')).map((name) => join(here, name))
  await build({ entryPoints, outdir: out, bundle: true, format: 'esm', platform: 'node', outExtension: { '.js': '.mjs' }, sourcemap: 'inline' })
  const files = (await readdir(out)).map((name) => join(out, name))
  const done = spawnSync(process.execPath, ['--enable-source-maps', '--test', ...files], { stdio: 'inherit' })
  process.exitCode = done.status ?? 1
} finally {
  await rm(out, { recursive: true })
}
