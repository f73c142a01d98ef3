// Causes of what is in sight, asked one by one and kept: what stopped a VM does not change until it is something else.

import { signal } from '@preact/signals'
import type { Vm, Why } from '../wire.ts'
import { ask, to } from './ask.ts'
import { then } from './state.ts'

/** What a row shows of it: all of the evidence of everything that was ever in sight would grow for days. */
type Cause = Pick<Why, 'cause' | 'confidence' | 'sentence'>

const MOST = 1000
const known = new Map<string, Cause | null>()
let waiting: [string, Vm][] = []
let running = 0

export const causesKnown = signal(0)

function key(vm: Vm): string {
  return `${vm.instance} ${vm.since} ${vm.power_state} ${then.value['as_of'] ?? ''} ${then.value['known_at'] ?? ''}`
}

/** Only what ended or paused a VM has a cause. */
const hasCause = (vm: Vm): boolean => !['RUNNING', 'NOSTATE', 'UNKNOWN'].includes(vm.power_state)

export function causeOf(vm: Vm): Cause | null {
  return (hasCause(vm) && known.get(key(vm))) || null
}

/** Have the causes of what is in sight; of what went out of it nobody asks any more. */
export function wantCauses(vms: readonly Vm[]): void {
  waiting = vms.filter((vm) => hasCause(vm) && !known.has(key(vm))).map((vm) => [key(vm), vm])
  while (running < 2 && waiting.length) void run()
}

async function run(): Promise<void> {
  running += 1
  for (let next = waiting.shift(); next; next = waiting.shift()) {
    const [name, vm] = next
    if (known.has(name)) continue
    known.set(name, null)
    const found = await ask<Why>(to(`/v1/vms/${vm.instance}/why`, then.value)).catch(() => null)
    known.set(name, found && (({ cause, confidence, sentence }) => ({ cause, confidence, sentence }))(found.body))
    if (known.size > MOST) known.delete(known.keys().next().value!)
    causesKnown.value += 1
  }
  running -= 1
}
