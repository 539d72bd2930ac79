/** Prefect Cloud's cap on one log record (`PREFECT_CLOUD_MAX_LOG_SIZE`), in characters; a self-hosted server has none. */
const LONGEST_TEXT = 25_000

/**
 * Text as Prefect can keep it: no NUL, which Postgres refuses, no half of a surrogate pair, which Python cannot
 * encode, and not longer than Prefect Cloud takes. What a container printed can have all three.
 */
export const storable = (text: string): string => {
  const clean = text.replaceAll('\0', '').toWellFormed()
  if (clean.length <= LONGEST_TEXT) return clean
  const note = ` … (cut from ${clean.length} characters)`
  return clean.slice(0, LONGEST_TEXT - note.length).toWellFormed() + note
}
