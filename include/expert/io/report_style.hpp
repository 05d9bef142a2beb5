// The style sheet of report.html: system fonts, light and dark, and nothing that is fetched. Not part of expert.hpp.
#pragma once
#include <string_view>

#include "expert/core/config.hpp"

namespace expert {
inline namespace v0 {

inline constexpr std::string_view report_style = R"css(
:root { color-scheme: light dark; --paper: #fff; --panel: #f6f7f8; --ink: #1a1c1f; --muted: #646a73; --rule: #e2e4e8;
  --s0: #2458a6; --s1: #b8500c; --good: #1d7a46; --bad: #b3352c; --bar: #cfdcf0; }
@media (prefers-color-scheme: dark) { :root { --paper: #14161a; --panel: #1c1f24; --ink: #e6e8eb; --muted: #9aa1ab;
  --rule: #2d3138; --s0: #7fb0f5; --s1: #f0a060; --good: #6cc794; --bad: #ef8a80; --bar: #2c4468; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1060px; padding: 40px 28px 72px; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", Arial, sans-serif;
  font-variant-numeric: tabular-nums; -webkit-text-size-adjust: 100%; overflow-wrap: break-word; }
h1 { font-size: 34px; line-height: 1.15; font-weight: 650; letter-spacing: -.018em; margin: 4px 0 10px; }
h2 { font-size: 21px; font-weight: 620; letter-spacing: -.008em; margin: 52px 0 6px; padding-top: 14px;
  border-top: 1px solid var(--rule); }
h3 { font-size: 14px; font-weight: 600; margin: 22px 0 2px; }
p { margin: 6px 0 12px; max-width: 74ch; }
a { color: var(--s0); text-decoration: none; } a:hover { text-decoration: underline; }
.kicker, .meta, .note, figcaption, nav { color: var(--muted); font-size: 14px; }
.kicker { margin: 0; letter-spacing: .02em; } .meta { max-width: none; }
.lede { font-size: 18px; line-height: 1.45; margin: 0 0 8px; }
nav { margin: 14px 0 0; } nav a { margin-right: 16px; white-space: nowrap; }
code, pre, .mono { font-family: ui-monospace, SFMono-Regular, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace;
  font-size: 13px; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.5; }
pre.block { background: var(--panel); border-radius: 6px; padding: 12px 14px; margin: 10px 0; }
dl.figures { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 22px 24px;
  margin: 30px 0 0; }
dl.figures div { border-top: 2px solid var(--ink); padding-top: 8px; }
dl.figures dt { color: var(--muted); font-size: 13px; }
dl.figures dd { margin: 0; font-size: 25px; line-height: 1.25; font-weight: 600; letter-spacing: -.012em; }
dl.figures dd small { display: block; font-size: 13px; font-weight: 400; letter-spacing: 0; color: var(--muted); }
figure { margin: 14px 0 0; min-width: 0; }
figcaption { margin: 2px 0 0; max-width: 74ch; }
figure h3 { margin: 0; }
.trio { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 18px; margin-top: 18px; }
.chart { display: block; overflow: visible; }
.chart text { font-size: 12px; fill: var(--muted); }
.chart .label { font-weight: 600; font-size: 12.5px; }
.grid { stroke: var(--rule); stroke-width: 1; } .axis { stroke: var(--muted); stroke-width: 1; }
.curve, .dots { fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round;
  vector-effect: non-scaling-stroke; }
.dots { stroke-width: 7; }
.s0 { stroke: var(--s0); } .s1 { stroke: var(--s1); }
.chart .label.s0 { stroke: none; fill: var(--s0); } .chart .label.s1 { stroke: none; fill: var(--s1); }
.faint { opacity: .32; stroke-width: 1; }
.box { overflow-x: auto; margin: 10px 0; -webkit-overflow-scrolling: touch; }
table { border-collapse: collapse; width: 100%; font-size: 14px; line-height: 1.4; }
th, td { text-align: left; padding: 6px 14px 6px 0; border-bottom: 1px solid var(--rule); vertical-align: baseline; }
th { font-weight: 600; color: var(--muted); font-size: 13px; white-space: nowrap; }
td.n, th.n { text-align: right; white-space: nowrap; } tr > :last-child { padding-right: 0; }
tr.group th { color: var(--ink); padding-top: 16px; }
tr.total td { border-top: 1px solid var(--ink); font-weight: 600; }
td.long { min-width: 180px; max-width: 380px; overflow-wrap: anywhere; } code { overflow-wrap: anywhere; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); gap: 8px 48px; }
.pair > div { min-width: 0; }
.shares td:first-child { position: sticky; left: 0; background: var(--paper); }
td.key { overflow-wrap: anywhere; min-width: 165px; max-width: 420px; }
td small { color: var(--muted); font-size: 12px; font-weight: 400; } .shares td { border-bottom: 0; padding-block: 4px; white-space: nowrap; }
.shares tr.best td { font-weight: 650; } .shares tr.group th { border-bottom: 0; padding-bottom: 2px; }
.shares tr.group:not(:nth-child(2)) th { border-top: 1px solid var(--rule); }
.shares .scale { width: 200px; min-width: 150px; padding: 0 12px 0 16px; text-align: center; vertical-align: middle; }
th.scale span { font-weight: 400; } th.scale span:first-child { float: left; } th.scale span:last-child { float: right; }
.scale svg { display: block; } .scale circle { fill: var(--s0); } .scale .curve { stroke-width: 2.5; }
td.bar { width: 34%; min-width: 90px; }
td.bar i { display: block; height: 9px; background: var(--bar); border-radius: 2px; min-width: 1px; }
.flag { color: var(--s1); font-weight: 600; } .default { color: var(--muted); }
.sample { border: 1px solid var(--rule); border-radius: 8px; padding: 16px 18px 18px; margin: 16px 0; }
.sample > p { margin: 0 0 8px; font-weight: 600; max-width: none; }
.sample .group { float: right; color: var(--muted); font-size: 13px; font-weight: 400; margin-left: 12px; }
.sample details { margin: 0 0 12px; }
summary { cursor: pointer; color: var(--muted); font-size: 13px; }
.answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(250px, 1fr)); gap: 16px; }
.answers > div { min-width: 0; border-top: 2px solid var(--rule); padding-top: 6px; }
.answers .right { border-color: var(--good); } .answers .wrong { border-color: var(--bad); }
.answers h3 { margin: 0 0 4px; }
.answers p { margin: 8px 0 0; font-size: 13px; line-height: 1.4; color: var(--muted); }
.answers .right h3 span { color: var(--good); font-weight: 400; }
.answers .wrong h3 span { color: var(--bad); font-weight: 400; }
footer { margin-top: 56px; color: var(--muted); font-size: 13px; }
@media (max-width: 760px) { body { padding: 24px 16px 48px; } h1 { font-size: 27px; }
  .trio { grid-template-columns: minmax(0, 1fr); } dl.figures { grid-template-columns: 1fr 1fr; gap: 16px 14px; }
  dl.figures dd { font-size: 21px; } .lede { font-size: 16px; } }
@media print { body { max-width: none; padding: 0; } nav { display: none; } .sample, figure { break-inside: avoid; } }
)css";

}  // namespace v0
}  // namespace expert
