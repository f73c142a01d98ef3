// Elements as templates, and what the parts have in common.

import { h, type VNode } from 'preact'
import htm from 'htm'

export const html = htm.bind(h) as unknown as (strings: TemplateStringsArray, ...values: unknown[]) => VNode
