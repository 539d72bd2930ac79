/** Now, as the API writes most times: `2026-11-24T04:00:25Z`. */
export const timestamp = (): string => `${new Date().toISOString().slice(0, 19)}Z`

/** Now, as the API wants it in Leases: with microseconds. */
export const microTimestamp = (): string => new Date().toISOString().replace('Z', '000Z')
