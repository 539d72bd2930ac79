/** All of the page's style; its hash stands in the Content-Security-Policy. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --paper: #ffffff; --card: #f5f6f8; --line: #d9dce3; --ink: #16181d; --quiet: #565c69;
  --bar: #3b63c9; --good: #12703c; --bad: #b3261e; --good-paper: #e3f4e9; --bad-paper: #fbe6e4;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #12141a; --card: #1b1e26; --line: #343946; --ink: #eceef3; --quiet: #a7adba;
    --bar: #7b9cf0; --good: #6fd49a; --bad: #ff9d94; --good-paper: #14301f; --bad-paper: #3b1916;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif;
}
main, header { max-width: 64rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 1.25rem; }
h1 { font-size: 1.375rem; margin: 0; }
h2 { font-size: 1.0625rem; margin: 2rem 0 0.5rem; }
p { margin: 0.25rem 0; }
.quiet { color: var(--quiet); }
.when { color: var(--quiet); white-space: nowrap; }
code, .id { font-family: ui-monospace, 'SFMono-Regular', Menlo, Consolas, monospace; font-size: 0.875em; overflow-wrap: anywhere; }
ul.parts { list-style: none; margin: 0; padding: 0; display: grid; gap: 0.5rem; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }
ul.parts li { border: 1px solid var(--line); border-radius: 0.5rem; padding: 0.5rem 0.75rem; background: var(--card); overflow-wrap: anywhere; }
.well, .ill { font-size: 0.8125rem; font-weight: 600; border-radius: 0.25rem; padding: 0.0625rem 0.375rem; }
.well { color: var(--good); background: var(--good-paper); }
.ill { color: var(--bad); background: var(--bad-paper); }
.chart { width: 100%; max-width: 32rem; height: auto; display: block; }
.chart text { font-size: 14px; fill: var(--ink); dominant-baseline: central; }
.chart .label { text-anchor: end; }
.chart rect { fill: var(--bar); }
details { border: 1px solid var(--line); border-radius: 0.5rem; background: var(--card); margin: 0.5rem 0; }
summary { cursor: pointer; padding: 0.5rem 0.75rem; overflow-wrap: anywhere; }
summary:focus-visible { outline: 2px solid var(--bar); outline-offset: 2px; border-radius: 0.5rem; }
details > div { padding: 0 0.75rem 0.5rem; overflow-wrap: anywhere; }
ol { margin: 0.5rem 0; padding-left: 1.75rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 0.375rem 0.75rem 0.375rem 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th { color: var(--quiet); font-weight: 600; font-size: 0.875rem; white-space: nowrap; }
footer { max-width: 64rem; margin: 2rem auto; padding: 0 1rem; color: var(--quiet); font-size: 0.875rem; }
@media (max-width: 40rem) {
  thead { display: none; }
  tr { display: block; border: 1px solid var(--line); border-radius: 0.5rem; background: var(--card); margin: 0.5rem 0; padding: 0.5rem 0.75rem; }
  td { display: block; border: 0; padding: 0; }
  td::before { content: attr(data-label) ' '; color: var(--quiet); }
}
`
