// The steps by their names, which are sentences: `step('the page does so', async ({ visitor, world }) => ...)`.

export const steps = new Map()

export function step(name, take) {
  steps.set(name, take)
}

/** Wait until something is so; what it was last is said where it never is. */
export async function until(says, is, within = 20_000) {
  const end = Date.now() + within
  for (;;) {
    const said = await says()
    if (is(said)) return said
    if (Date.now() > end) throw new Error(`it is still ${JSON.stringify(said)}, and should be so that ${is}`)
    await new Promise((done) => setTimeout(done, 25))
  }
}
