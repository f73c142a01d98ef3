// What /v1 sends, as far as the page reads it. Names and texts may hold anything: they are only ever shown as text.

export type State = 'NOSTATE' | 'RUNNING' | 'PAUSED' | 'SHUTDOWN' | 'CRASHED' | 'SUSPENDED' | 'UNKNOWN'

export interface Page<T> { items: T[]; next: string | null }

export interface Vm {
  instance: string
  name: string | null
  host: string
  power_state: State
  vm_state: string | null
  task_state: string | null
  policy: string
  since: string | null
  observed_at: string | null
  position: number
  provisional: boolean
  gone: boolean
  /** What its policy says where it is not what its record says. */
  drift: string | null
  reason: string | null
  note: string
}

export interface Host {
  host: string
  stream: string
  uri: string
  running: boolean
  blind_since: string | null
  blind_reason: string | null
  vms: number
  swept_at: string | null
  policy: string
  policy_version: number
  mode: string
}

export interface Gap { host: string; since: string; until: string | null; reason: string; lost: number | null; position: number }

export interface Fact {
  position: number
  kind: string | null
  host: string | null
  instance: string | null
  observed_at: string | null
  recorded_at: string | null
  what: string
}

export interface Segment {
  instance: string
  since: string
  until: string
  power_state: State | 'MIXED' | null
  why_unknown: string | null
  host: string | null
  seconds: number
}

export interface Mark {
  instance: string
  at: string
  kind: 'event' | 'observation' | 'missed' | 'stale' | 'command'
  position: number
  what: string
}

export interface Evidence { weight: string; at: string | null; position: number | null; host: string | null; what: string }

export interface Why {
  instance: string
  name: string | null
  host: string | null
  cause: string
  confidence: string
  sentence: string
  at: string | null
  not_before: string | null
  from_state: State | null
  to_state: State | null
  actor: string | null
  process: string | null
  pid: number | null
  signal: number | null
  power_state: State | null
  position: number
  evidence: Evidence[]
  notes: string[]
  next: string[]
}

export interface Command {
  id: string
  instance: string
  name: string | null
  host: string
  policy: string
  policy_version: number
  rule: string
  command: string
  state: string
  requested_at: string
  position: number
  reason: string
  justification: { observation: Record<string, unknown>; record: Record<string, unknown> }
  cell: { vm_state: string; power_state: string; verdict: string } | null
  ended: { reason: string | null; position: number } | null
}

export interface Step { at: string; step: string; what: string; by: string | null; why: string | null; position: number }

export interface CommandShown extends Command { life: Step[] }

export interface Session { user: string | null; role: 'read' | 'operate' | 'admin'; csrf: string | null }

export interface Checkpoint {
  size: number
  root: string
  position: number
  observed_at: string
  origin: string
  key: string
  missed: string[]
  note: string
}

export interface Seal {
  checkpoint: Checkpoint | null
  position: number
  verifier: string | null
  key: string | null
  failed: Record<string, string>
  failure: string
}

export interface Verdict {
  intact: boolean
  position: number
  records: number
  streams: number
  root: string
  labels: number
  labels_gone: number
  unread: number
  checkpoints: { size: number; origin: string; signed: boolean; holds: boolean | null }[]
  damage: { kind: string; position: number | null; until: number | null; detail: string }[]
}

export interface Uptime {
  name: string | null
  instance: string
  existed_s: number
  known_up_s: number
  known_down_s: number
  known_paused_s: number
  unknown_s: number
  availability_min: number | null
  availability_max: number | null
}

export interface Problem { type: string; title: string; status: number; detail: string; request_id?: string }

export interface Policy { name: string; version: number; description: string; table: Record<string, string>[] }

export interface Difference {
  requested_at: string
  instance: string
  name: string | null
  host: string | null
  only_in: string | null
  difference: string
  rule: string | null
  command: string | null
  power_state: string | null
  then: string
  position: number
}

export interface Comparison {
  left: string
  right: string
  position: number
  both: number
  otherwise: number
  only_left: number
  only_right: number
  unseen: number
  differences: Difference[]
}
