import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'

/**
 * Reads the authority whose clients alone are served, PEM; it may hold several certificates.
 *
 * @throws Error naming the file where it cannot be read or its first certificate is none: with an authority that means
 * nothing, no API server would be served, and every object would pass unlabelled.
 */
export async function readClientCa(file: string): Promise<string> {
  const pem = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new Error(
      `cannot read the authority of clients, ${file}: set LIFEGUARD_CLIENT_CA_FILE to a file that is there`,
      {
        cause,
      },
    )
  })
  try {
    if (new X509Certificate(pem).ca) return pem
  } catch (cause) {
    throw new Error(`${file} of LIFEGUARD_CLIENT_CA_FILE holds no certificate in PEM`, { cause })
  }
  throw new Error(
    `${file} of LIFEGUARD_CLIENT_CA_FILE holds a certificate that is no authority: it signs no clients`,
  )
}
