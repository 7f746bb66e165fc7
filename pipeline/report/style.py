"""The style sheet of the page: light and dark, wide and narrow."""

from typing import Final

STYLE: Final = """
:root{color-scheme:light dark;--page:#fbfbfa;--card:#fff;--ink:#1c2024;--soft:#5d656e;
--line:#dfe2e6;--link:#1f5fbf;--good:#1a7f4b;--bad:#c2271d;--read:#64748b;--added:#0d9488;
--kept:#3b6fb6;--instances:#2f8f5b;--removed:#c98a1b;--rejected:#c4483d;--duplicates:#8b5cb8;
--blank:#94a3b8;--dropped:#7c6f5c;--old:#ffe0dc;--old-ink:#8f1d14;--new:#d6f2df;--new-ink:#0d5a31}
@media(prefers-color-scheme:dark){:root{--page:#14171a;--card:#1c2024;--ink:#e6e8ea;
--soft:#9aa4af;--line:#343a41;--link:#8ab4f8;--good:#5fd39a;--bad:#ff8a80;--read:#94a3b8;
--added:#2dd4bf;--kept:#7aa7e8;--instances:#5cc98d;--removed:#e6b14d;--rejected:#f0857b;
--duplicates:#b898e0;--blank:#7b8794;--dropped:#b0a084;--old:#55231f;--old-ink:#ffcfc9;
--new:#173f2a;--new-ink:#b9f0cf}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0 auto;max-width:1240px;padding:24px 20px 64px;background:var(--page);
color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",
"Noto Sans CJK SC","PingFang SC","Microsoft YaHei",sans-serif}
h1{font-size:27px;line-height:1.25;margin:0 0 4px}
h2{font-size:20px;margin:44px 0 6px;padding-top:8px;border-top:1px solid var(--line)}
h3{font-size:16px;margin:24px 0 6px}
p{margin:6px 0 12px;max-width:78ch}
.soft,figcaption,.id,.head{color:var(--soft)}
a{color:var(--link)}
nav{display:flex;flex-wrap:wrap;gap:4px 16px;margin:14px 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px;margin:18px 0}
.tile{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 14px}
.tile b{display:block;font-size:21px;line-height:1.3;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:13px}
.good{color:var(--good)}.bad{color:var(--bad);font-weight:600}
.scroll{overflow-x:auto;margin:8px 0 16px;background:var(--card);border:1px solid var(--line);
border-radius:8px}
table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
th,td{padding:6px 9px;text-align:left;vertical-align:top;white-space:nowrap}
th{color:var(--soft);font-weight:600;border-bottom:1px solid var(--line)}
tr.total td{font-weight:600}
tbody tr+tr td{border-top:1px solid var(--line)}
.number{text-align:right}
.wide td:last-child{white-space:normal;overflow-wrap:anywhere;min-width:240px}
svg{display:block;width:100%;height:auto}
svg text{fill:var(--ink);font-size:13px}
svg .strong{font-weight:600}
svg text.of-added{fill:var(--added)}
svg .tick,svg .axis{fill:var(--soft);font-size:11px}
svg.flow{min-width:720px;padding:0 12px}
.grid{stroke:var(--line)}
.bar{fill:var(--kept)}.bar.marked{fill:var(--instances)}
.of-read{fill:var(--read)}.of-added{fill:var(--added)}.of-kept{fill:var(--kept)}
.of-removed{fill:var(--removed)}.of-rejected{fill:var(--rejected)}
.of-duplicates{fill:var(--duplicates)}.of-instances{fill:var(--instances)}
.of-blank{fill:var(--blank)}.of-dropped{fill:var(--dropped)}
.ribbon{fill-opacity:.28}
.part-0{fill:var(--kept);background:var(--kept)}.part-1{fill:var(--removed);
background:var(--removed)}.part-2{fill:var(--duplicates);background:var(--duplicates)}
.expected{stroke:var(--ink);stroke-width:1.5}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,320px),1fr));gap:12px;
margin:12px 0}
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:8px;
padding:10px 12px}
figcaption{font-size:13px;margin-bottom:6px}
.legend{list-style:none;margin:6px 0 0;padding:0;font-size:13px}
.swatch{display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:6px}
details,.head{background:var(--card);border:1px solid var(--line);border-radius:8px;
margin:5px 0;padding:7px 14px}
.head{background:none;border-color:transparent;font-size:13px;font-weight:600}
summary{cursor:pointer}
.row{display:inline-grid;width:calc(100% - 22px);vertical-align:top;gap:0 12px;
grid-template-columns:minmax(0,2fr) repeat(3,minmax(0,1fr));font-variant-numeric:tabular-nums}
.head .row{margin-left:22px}
.row>:first-child{font-weight:600;overflow-wrap:anywhere}
.row>:not(:first-child){text-align:right;overflow-wrap:anywhere}
.sample{margin:12px 0;padding-top:10px;border-top:1px solid var(--line)}
.id{font:12px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.pair{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:8px 20px;margin-top:4px}
.pair p,.excerpt{margin:0;max-width:none;white-space:pre-wrap;overflow-wrap:anywhere}
.excerpt+.id{margin-top:10px}
del,ins{text-decoration:none;border-radius:3px;padding:0 1px}
del{background:var(--old);color:var(--old-ink)}
ins{background:var(--new);color:var(--new-ink)}
del:empty,ins:empty{padding:0;border-left:2px solid currentColor;margin:0 1px}
.unseen{font-style:normal;font-size:.8em;opacity:.75}
@media(max-width:640px){body{padding:16px 12px 48px}h1{font-size:22px}
.tiles{grid-template-columns:repeat(2,minmax(0,1fr))}.tile b{font-size:18px}
.pair{grid-template-columns:minmax(0,1fr)}.row{font-size:13px;gap:0 8px;
grid-template-columns:repeat(3,minmax(0,1fr))}.row>:first-child{grid-column:1/-1}
details,.head{padding:7px 10px}th,td{padding:6px 9px}}
@media print{details{break-inside:avoid}}
""".strip()
