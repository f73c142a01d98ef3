// States as they are drawn: each has a code, a letter, a colour and a pattern, so that no one of the three is needed
// to tell two apart. Codes are what lanes hold, one byte a segment.

export type Pattern = 'plain' | 'slants' | 'dots' | 'crosses' | 'bars' | 'outline' | 'hatch' | 'checks' | 'none'

export interface Look { code: number; letter: string; word: string; pattern: Pattern }

const look = (code: number, letter: string, word: string, pattern: Pattern): Look => ({ code, letter, word, pattern })

/** Time in which a VM did not exist, as far as anybody knows. */
export const ABSENT = 0

export const LOOKS: Readonly<Record<string, Look>> = {
  NONE: look(ABSENT, '', 'not there', 'none'),
  RUNNING: look(1, 'R', 'running', 'plain'),
  PAUSED: look(2, 'P', 'paused', 'slants'),
  SHUTDOWN: look(3, 'O', 'shut off', 'dots'),
  CRASHED: look(4, 'X', 'crashed', 'crosses'),
  SUSPENDED: look(5, 'S', 'suspended', 'bars'),
  NOSTATE: look(6, 'N', 'no state', 'outline'),
  UNKNOWN: look(7, '?', 'unknown', 'hatch'),
  MIXED: look(8, '~', 'several', 'checks'),
}

/** The looks by their codes. */
export const BY_CODE: readonly Look[] = Object.values(LOOKS).sort((one, other) => one.code - other.code)

export const UNKNOWN = 7
export const MIXED = 8

/** The code of a state, where null is none; what this page has never heard of is unknown to it. */
export function codeOf(state: string | null): number {
  return state === null ? ABSENT : (LOOKS[state]?.code ?? UNKNOWN)
}

export function lookOf(state: string | null): Look {
  return BY_CODE[codeOf(state)]!
}

/** The name of a state as part of a class. */
export function classOf(state: string | null): string {
  return `s${codeOf(state)}`
}
