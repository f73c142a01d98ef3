// One who visits the page: enters by a link, looks and presses. Everything that the page says to its console or asks of
// the network is listened to, from the first moment on.
import assert from 'node:assert/strict'
import { until } from './steps.mjs'

const PHONE = { width: 390, height: 844 }
const DESK = { width: 1440, height: 900 }

export class Visitor {
  #browser
  #context
  #url
  #world
  /** What went wrong that no step was about. */
  complaints = []
  #forgiven = []

  constructor(browser, url, world) {
    this.#browser = browser
    this.#url = url
    this.#world = world
  }

  /** Open the page as somebody of this role, let in by a link as `es-power ui` prints it. */
  async enter(role = 'operate', { at = '', colours = 'light', phone = false } = {}) {
    this.#context = await this.#browser.newContext({ viewport: phone ? PHONE : DESK, hasTouch: phone, colorScheme: colours })
    this.page = await this.#open()
    await this.page.goto(await this.#world.link(role))
    if (at) await this.page.goto(this.#url + at)
    await this.page.locator('.pill.live, .pill.past').waitFor()
    await until(() => this.rows(), (rows) => rows.length > 0)
    return this.page
  }

  /** A further tab of the same browser. */
  async another(url) {
    const page = await this.#open()
    await page.goto(url)
    return page
  }

  async #open() {
    const page = await this.#context.newPage()
    page.setDefaultTimeout(20_000)
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) this.#complain(`console: ${message.text()}`)
    })
    page.on('pageerror', (error) => this.#complain(`uncaught: ${error.stack}`))
    page.on('dialog', (dialog) => {
      this.#complain(`it opened a dialog: ${dialog.message()}`)
      void dialog.dismiss()
    })
    page.on('request', (request) => {
      if (new URL(request.url()).origin !== this.#url) this.#complain(`it asked ${request.url()}`)
    })
    return page
  }

  #complain(text) {
    if (!this.#forgiven.some((pattern) => pattern.test(text))) this.complaints.push(text)
  }

  /** What this step makes go wrong is not the page's fault. */
  forgive(pattern) {
    this.#forgiven.push(pattern)
  }

  assertContent() {
    assert.deepEqual(this.complaints, [], 'the page complained')
  }

  async leave() {
    await this.#context?.close()
  }

  // ------------------------------------------------------------------------------------------------ what is to be seen

  pill() {
    return this.page.locator('.pill').innerText()
  }

  /** What its URL says, asked of the page itself: the driver hears of it later. */
  parameter(name) {
    return this.page.evaluate((asked) => new URLSearchParams(location.search).get(asked), name)
  }

  /** The rows in sight, as a reader hears them. */
  rows() {
    return this.page.locator('.grid .rows [role=row]').evaluateAll((rows) => rows.map((row) => ({
      instance: row.dataset.vm,
      name: row.querySelector('.name').textContent,
      state: row.querySelector('.state .word').textContent,
    })))
  }

  async stateOf(name) {
    return (await this.rows()).find((row) => row.name === name)?.state
  }

  /** Wait until a VM's row says this. */
  async sees(name, state) {
    await until(() => this.stateOf(name), (said) => said === state).catch(() => {
      throw new Error(`${name} is not ${state}`)
    })
  }

  /** Ask the service the same. */
  async asks(path) {
    const response = await this.#context.request.get(this.#url + path)
    assert.equal(response.status(), 200, `${path}: ${await response.text()}`)
    return response.json()
  }

  tab(name) {
    return this.page.getByRole('tab', { name }).click()
  }
}
