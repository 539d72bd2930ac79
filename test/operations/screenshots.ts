import { writeFile } from 'node:fs/promises'
import { statusPage } from '../../src/operations/status-page.ts'
import type { View } from './browser.ts'
import { findBrowser, startBrowser } from './browser.ts'
import { servePage } from './page-server.ts'
import { sampleReport } from './sample-report.ts'

/**
 * `npm run screenshots`: the pictures of the status page in docs/images, made anew from the sample of the tests. Make
 * them small afterwards: `pngquant --ext .png --force docs/images/*.png`.
 */

const FOLDER = new URL('../../docs/images/', import.meta.url)

const PICTURES: Readonly<Record<string, View>> = {
  'status-light.png': { width: 900, height: 1000, scheme: 'light' },
  'status-dark.png': { width: 900, height: 1000, scheme: 'dark' },
  'status-phone.png': { width: 390, height: 844, scheme: 'light', isPhone: true },
}

const path = findBrowser()
if (path === undefined)
  throw new Error('no Chromium here; on Debian: apt-get install chromium-headless-shell')
await using browser = await startBrowser(path)
await using server = await servePage(statusPage(sampleReport()))
for (const [name, view] of Object.entries(PICTURES)) {
  const look = await browser.open(server.url, view)
  await look.evaluate("document.querySelector('summary').click()")
  if (view.isPhone) await look.evaluate("document.querySelectorAll('h2')[1].scrollIntoView()")
  await writeFile(new URL(name, FOLDER), await look.screenshot())
}
