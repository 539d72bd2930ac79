/** What one check found: all well, worth knowing, or wrong; `skipped` where it could not be looked at. */
export interface Finding {
  readonly name: string
  readonly health: 'ok' | 'warning' | 'error' | 'skipped'
  readonly detail: string
  /** What to do; absent where nothing is to be done. */
  readonly advice?: string
}

export const ok = (name: string, detail: string): Finding => ({ name, health: 'ok', detail })

export const warning = (name: string, detail: string, advice: string): Finding => ({
  name,
  health: 'warning',
  detail,
  advice,
})

export const wrong = (name: string, detail: string, advice: string): Finding => ({
  name,
  health: 'error',
  detail,
  advice,
})

export const skipped = (name: string, detail: string, advice?: string): Finding => ({
  name,
  health: 'skipped',
  detail,
  ...(advice !== undefined && { advice }),
})

/** What an error says, for a finding. */
export const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
