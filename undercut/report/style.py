"""The style sheet and the script of a report: light and dark by the reader's own setting, a phone, and paper."""

STYLE = """
:root{--paper:#fff;--panel:#f6f8fa;--ink:#24292f;--muted:#59636e;--grid:#d9dee4;--field:#cfdcc8;--label:#2f3640;
--good:#1a7f37;--bad:#cf222e;--c0:#3b6fb6;--c1:#d9772b;--c2:#4d8f55;--c3:#9a5fb0;--c4:#b8394e;--c5:#3a9ca6;--c6:#8a6d3b;
--c7:#707070;--font:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
@media screen and (prefers-color-scheme:dark){:root{--paper:#0f1419;--panel:#181f27;--ink:#e6e9ed;--muted:#9aa5b1;
--grid:#2e3741;--field:#26332a;--label:#d5dde2;--good:#4ac26b;--bad:#ff7b72;--c0:#6ba3ea;--c1:#f0974f;--c2:#73bd7c;
--c3:#c48fd9;--c4:#e8718a;--c5:#63c5cf;--c6:#c3a36b;--c7:#a6a6a6}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0 auto;padding:1.2rem;max-width:88rem;background:var(--paper);color:var(--ink);
font:15px/1.5 var(--font)}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .2rem}
h2{font-size:1.2rem;margin:2.2rem 0 .7rem;padding-bottom:.3rem;border-bottom:1px solid var(--grid)}
p{margin:.3rem 0}
nav{margin:.8rem 0;font-size:.9rem;display:flex;flex-wrap:wrap;gap:.3rem 1rem}
nav a{color:var(--c0);white-space:nowrap}
.facts,.note{color:var(--muted);font-size:.9rem}
.facts span{margin-right:1.2rem;white-space:nowrap}
.facts b{font-weight:600;color:var(--ink)}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.7rem;margin:1rem 0}
.figures div{background:var(--panel);border-radius:8px;padding:.7rem .9rem}
.figures strong{display:block;font-size:1.5rem;line-height:1.25;font-variant-numeric:tabular-nums}
.figures span{font-size:.85rem}
.figures small{display:block;color:var(--muted);font-size:.75rem;line-height:1.3}
.problems{border-left:4px solid var(--c1);background:var(--panel);border-radius:0 8px 8px 0;padding:.6rem 1rem;
margin:1rem 0;font-size:.9rem;overflow-wrap:anywhere}
.problems ul{margin:.3rem 0;padding-left:1.2rem}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,21rem),1fr));gap:1rem;align-items:start}
.large{grid-template-columns:repeat(auto-fill,minmax(min(100%,30rem),1fr))}
figure{margin:0;background:var(--panel);border-radius:8px;padding:.8rem;break-inside:avoid}
figcaption{font-weight:600;margin-bottom:.3rem}
figure p{color:var(--muted);font-size:.8rem;line-height:1.4}
svg{width:100%;height:auto;display:block;stroke-linejoin:round;stroke-linecap:butt}
.scroll{overflow:auto;max-height:32rem;border:1px solid var(--grid);border-radius:8px}
table{border-collapse:collapse;width:100%;font-size:.85rem;font-variant-numeric:tabular-nums}
th,td{padding:.28rem .6rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--grid)}
th{position:sticky;top:0;background:var(--panel);color:var(--ink);font-weight:600;z-index:1}
.l{text-align:left}
.sortable th{cursor:pointer}
.sortable th[aria-sort=ascending]::after{content:" \\25B4"}
.sortable th[aria-sort=descending]::after{content:" \\25BE"}
tr.evaluation td{background:color-mix(in srgb,var(--c1) 9%,transparent)}
details{margin:.6rem 0;font-size:.85rem}
summary{cursor:pointer;color:var(--c0)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;color:var(--muted);margin:.4rem 0}
dt{color:var(--ink)}
dd{margin:0}
.findings{list-style:none;padding:0;margin:0}
.findings li{padding:.55rem 0 .55rem 1.5rem;border-bottom:1px solid var(--grid);position:relative}
.findings li::before{content:"\\2022";position:absolute;left:.4rem;color:var(--muted)}
.findings .good::before{content:"\\2713";color:var(--good)}
.findings .bad::before{content:"!";color:var(--bad);font-weight:700}
.findings small{display:block;color:var(--muted)}
footer{margin:2rem 0 1rem;color:var(--muted);font-size:.8rem}
@media (max-width:40rem){body{padding:.8rem;font-size:14px}h1{font-size:1.35rem}.figures strong{font-size:1.2rem}
.figures{grid-template-columns:repeat(2,1fr);gap:.5rem}dl{grid-template-columns:1fr}dd{margin:0 0 .3rem}}
@media print{body{max-width:none;padding:0;font-size:11px}nav{display:none}
.scroll{max-height:none;overflow:visible;border:0}
.grid{grid-template-columns:1fr 1fr 1fr}.large{grid-template-columns:1fr 1fr}table{font-size:9px}
th,td{padding:.15rem .3rem}
.long tbody tr:nth-child(n+41){display:none}th{position:static}
.print-note{display:block!important}h2{break-after:avoid}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
.print-note{display:none}
"""

SCRIPT = """
for (const table of document.querySelectorAll("table.sortable"))
  table.tHead.addEventListener("click", event => {
    const head = event.target.closest("th");
    if (!head) return;
    const column = head.cellIndex, down = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = row => row.cells[column].textContent, sign = down ? -1 : 1;
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const x = value(a), y = value(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      const difference = Number(x.replaceAll(",", "")) - Number(y.replaceAll(",", ""));
      return sign * (Number.isNaN(difference) ? x.localeCompare(y, "en", {numeric: true}) : difference);
    });
    table.tBodies[0].append(...rows);
  });
"""
