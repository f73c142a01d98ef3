// Asking /v1. What is wrong comes as a problem of RFC 9457, and its own words are shown.

import type { Page, Problem } from '../wire.ts'

export class ProblemError extends Error {
  readonly problem: Problem

  constructor(problem: Problem) {
    super(problem.detail ? `${problem.title}: ${problem.detail}` : problem.title)
    this.problem = problem
  }

  get status(): number {
    return this.problem.status
  }
}

/** No answer came: the service, or the way to it, is gone. */
export class UnreachableError extends Error {
  constructor() {
    super('The service does not answer.')
  }
}

export interface Answer<T> { body: T; position: number }

let csrf: string | null = null

/** What a session's writes are to carry. */
export function writeWith(token: string | null): void {
  csrf = token
}

async function request(path: string, init: RequestInit): Promise<Response> {
  let response: Response
  try {
    response = await fetch(path, { credentials: 'same-origin', ...init })
  } catch (error) {
    if (init.signal?.aborted) throw error
    throw new UnreachableError()
  }
  if (response.ok) return response
  const fallback: Problem = { type: '', title: `HTTP ${response.status}`, status: response.status, detail: '' }
  throw new ProblemError(await response.json().then((body: Problem) => ({ ...fallback, ...body }), () => fallback))
}

export async function ask<T>(path: string, signal?: AbortSignal): Promise<Answer<T>> {
  const response = await request(path, signal ? { signal } : {})
  return { body: (await response.json()) as T, position: Number(response.headers.get('X-ES-Position') ?? 0) }
}

/** All rows of a list, page by page. */
export async function askAll<T>(path: string, signal?: AbortSignal): Promise<Answer<T[]>> {
  const items: T[] = []
  let position = 0
  for (let next: string | null = path; next; ) {
    const answer: Answer<Page<T>> = await ask<Page<T>>(next, signal)
    items.push(...answer.body.items)
    position = answer.position
    next = answer.body.next
  }
  return { body: items, position }
}

export async function write<T>(path: string, body?: object): Promise<T> {
  const headers: Record<string, string> = { 'Idempotency-Key': crypto.randomUUID() }
  if (csrf) headers['X-CSRF-Token'] = csrf
  if (body) headers['Content-Type'] = 'application/json'
  const response = await request(path, { method: 'POST', headers, body: body ? JSON.stringify(body) : null })
  return (await response.json()) as T
}

/** A path with parameters, of which those that are null are left out. */
export function to(path: string, parameters: Record<string, string | number | boolean | null | undefined>): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== false) query.set(name, String(value))
  }
  const text = query.toString()
  return text ? `${path}?${text}` : path
}
