"""The page's style sheet: light and dark by the reader's own setting, nothing fetched."""

from __future__ import annotations

from typing import Final

CSS: Final = """
:root {
  color-scheme: light dark;
  --page: #f6f6f3; --card: #fcfcfb; --ink: #0b0b0b; --ink-2: #52514e; --muted: #7b7974;
  --rule: #e1e0d9; --axis: #c3c2b7; --band: rgba(11,11,11,.05);
  --precision: #2a78d6; --recall: #eb6834; --f1: #4a3aa7;
  --good: #0ca30c; --warn: #fab219; --bad: #d03b3b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0d0d0d; --card: #1a1a19; --ink: #ffffff; --ink-2: #c3c2b7; --muted: #9a9891;
    --rule: #2c2c2a; --axis: #383835; --band: rgba(255,255,255,.06);
    --precision: #3987e5; --recall: #d95926; --f1: #9085e9;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif;
}
main { max-width: 1120px; margin: 0 auto; padding: 32px 20px 48px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; }
h2 { font-size: 17px; margin: 0 0 2px; }
p { margin: 0 0 12px; color: var(--ink-2); max-width: 88ch; }
section, .tile { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; }
section { padding: 20px; margin-top: 20px; }
.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: 12px; margin-top: 20px;
}
.tile { padding: 14px 16px; }
.tile b { display: block; font-size: 28px; line-height: 1.25; font-weight: 600; }
.tile span { color: var(--ink-2); font-size: 13px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 10px; border-bottom: 1px solid var(--rule); text-align: right; white-space: nowrap; }
th { color: var(--ink-2); font-size: 13px; font-weight: 600; vertical-align: bottom; }
tbody tr:last-child > * { border-bottom: 0; }
.text { text-align: left; }
tbody th { color: var(--ink); font-size: 15px; font-weight: 500; }
tbody th, td { vertical-align: middle; }
.provisional th, .provisional td { color: var(--muted); font-style: italic; }
.provisional .state { font-style: normal; }
.state::before { display: inline-block; width: 1.4em; font-style: normal; }
.settled::before { content: "\\25CF"; color: var(--good); }
.open::before { content: "\\25CB"; color: var(--muted); }
.drift::before { content: "\\25B2"; color: var(--bad); }
.drift { font-weight: 600; }
.watch::before { content: "\\25C6"; color: var(--warn); }
.stable::before { content: "\\25CF"; color: var(--good); }
.unjudged::before { content: "\\25CB"; color: var(--muted); }
.legend {
  display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 8px 0; color: var(--ink-2); font-size: 13px;
}
.legend span { display: inline-flex; align-items: center; gap: 6px; }
svg { display: block; }
svg text { fill: var(--muted); font-size: 12px; font-variant-numeric: tabular-nums; }
.chart { width: 100%; min-width: 620px; height: auto; }
.spark { margin-left: auto; }
.grid { stroke: var(--rule); } .axis { stroke: var(--axis); } .band { fill: var(--band); }
.limit { stroke: var(--bad); stroke-dasharray: 3 3; }
.psi { stroke: var(--ink-2); fill: none; stroke-width: 1.5; stroke-linejoin: round; }
.end { fill: var(--ink-2); }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.precision { stroke: var(--precision); } .recall { stroke: var(--recall); } .f1 { stroke: var(--f1); }
.dot { stroke-width: 2; } .dot.open-dot { fill: var(--card); }
.dot.precision { fill: var(--precision); } .dot.recall { fill: var(--recall); } .dot.f1 { fill: var(--f1); }
.dot.open-dot.precision, .dot.open-dot.recall, .dot.open-dot.f1 { fill: var(--card); }
footer p { font-size: 13px; margin: 20px 0 0; }
"""
