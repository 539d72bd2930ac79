import t from 'tap'
import { z } from 'zod'
import { statusPage } from '../../src/operations/status-page.ts'
import type { View } from './browser.ts'
import { findBrowser, startBrowser } from './browser.ts'
import { servePage } from './page-server.ts'
import { sampleReport, verdict } from './sample-report.ts'

/** The status page in a real browser: what it looks like there, and what it cannot be made to do. */

t.setTimeout(120_000)

const path = findBrowser()
if (path === undefined) {
  t.pass('no browser', { skip: 'no Chromium here; on Debian: apt-get install chromium-headless-shell' })
  process.exit(0)
}

const browser = await startBrowser(path)
t.teardown(() => browser[Symbol.asyncDispose]())

const VIEWS: Readonly<Record<string, View>> = {
  'a wide screen, light': { width: 1100, height: 900, scheme: 'light' },
  'a wide screen, dark': { width: 1100, height: 900, scheme: 'dark' },
  'a phone, light': { width: 360, height: 740, scheme: 'light', isPhone: true },
  'a phone, dark': { width: 360, height: 740, scheme: 'dark', isPhone: true },
}

/** By how much the page is wider than the screen. */
const OVERHANG = 'document.documentElement.scrollWidth - document.documentElement.clientWidth'

/** In the page: the least contrast of any text with what is behind it, by WCAG 2.1, and where that is. */
const LEAST_CONTRAST = `(() => {
  const numbers = color => color.match(/[\\d.]+/g).map(Number)
  const luminance = color => {
    const [r, g, b] = numbers(color).map(part => part / 255).map(part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const behind = element => {
    const color = getComputedStyle(element).backgroundColor
    return numbers(color)[3] === 0 && element.parentElement ? behind(element.parentElement) : color
  }
  const texts = [...document.body.querySelectorAll('*')].filter(element => [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim() !== ''))
  const contrasts = texts.map(element => {
    const style = getComputedStyle(element)
    const [a, b] = [luminance(element instanceof SVGElement ? style.fill : style.color), luminance(behind(element))].sort((x, y) => y - x)
    return { text: element.textContent.trim().slice(0, 40), contrast: (a + 0.05) / (b + 0.05) }
  })
  return contrasts.sort((a, b) => a.contrast - b.contrast)[0]
})()`

t.test('on any screen', async t => {
  await using server = await servePage(statusPage(sampleReport()))
  for (const [sentence, view] of Object.entries(VIEWS))
    await t.test(sentence, async t => {
      const look = await browser.open(server.url, view)
      t.strictSame(look.complaints, [], 'the browser complains of nothing')
      t.equal(look.requests.length, 1, 'and asks for nothing but the page')
      t.equal(await look.evaluate(OVERHANG), 0, 'nothing sticks out')
      t.equal(
        await look.evaluate('getComputedStyle(document.body).backgroundColor'),
        view.scheme === 'light' ? 'rgb(255, 255, 255)' : 'rgb(18, 20, 26)',
        'the style is taken, in the colours that are asked for',
      )
      const { text, contrast } = z
        .object({ text: z.string(), contrast: z.number() })
        .parse(await look.evaluate(LEAST_CONTRAST))
      t.ok(contrast >= 4.5, `text can be read everywhere; least at "${text}": ${contrast.toFixed(1)}`)
      const isTable =
        (await look.evaluate("getComputedStyle(document.querySelector('td')).display")) === 'table-cell'
      t.equal(isTable, view.isPhone !== true, 'a table where there is room, cards on a phone')
    })
})

t.test('a trail opens when it is asked for', async t => {
  await using server = await servePage(statusPage(sampleReport()))
  const look = await browser.open(server.url, { width: 360, height: 740, scheme: 'light', isPhone: true })
  const isSeen = "document.querySelector('details ol').checkVisibility()"
  t.equal(await look.evaluate(isSeen), false)
  await look.evaluate("document.querySelector('summary').click()")
  t.equal(await look.evaluate(isSeen), true)
  t.equal(await look.evaluate(OVERHANG), 0)
})

const SCRIPT = '<script>document.title = "taken"</script><img src=x onerror=\'document.title = "taken"\'>'

t.test('what gets into a name or a message does nothing', async t => {
  const report = sampleReport({
    verdicts: [verdict(1, SCRIPT, { name: SCRIPT, text: SCRIPT, trail: [SCRIPT] })],
  })
  await using server = await servePage(statusPage(report))
  const look = await browser.open(server.url, { width: 1100, height: 900, scheme: 'light' })
  t.equal(await look.evaluate("document.querySelectorAll('script, img').length"), 0, 'it is text')
  t.equal(await look.evaluate('document.title'), 'prefect-lifeguard: 1 not well')
})

t.test('and should it ever become markup, it does nothing all the same', async t => {
  await using server = await servePage(statusPage(sampleReport()).replace('<main>', `<main>${SCRIPT}`))
  const look = await browser.open(server.url, { width: 1100, height: 900, scheme: 'light' })
  t.equal(await look.evaluate("document.querySelectorAll('script, img').length"), 2, 'it is markup')
  t.equal(await look.evaluate('document.title'), 'prefect-lifeguard: 1 not well')
  t.match(look.complaints.join(), /Content Security Policy/)
})
