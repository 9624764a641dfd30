// JupyterLab's colours where there are any, our own elsewhere.

// The style sheet of every panel.
export const STYLES = `
.wb-panel { --ink: var(--jp-ui-font-color1, light-dark(#1b2127, #e5e9ec)); --page: var(--jp-layout-color0, light-dark(#fff, #14181c));
	--muted: light-dark(#59636e, #9aa5b0); --rule: light-dark(#dce1e6, #343c44); --accent: light-dark(#0072b2, #6cb8ee);
	color-scheme: light dark; padding: 14px 16px; background: var(--page); color: var(--ink); font: 13px/1.45 system-ui, sans-serif;
	font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
[data-jp-theme-light="true"] .wb-panel { color-scheme: light; }
[data-jp-theme-light="false"] .wb-panel { color-scheme: dark; }
.wb-panel .wb-panel { padding: 18px 0 0; }
.wb-panel :is(p, dl, dt, dd, ul, li, h4, figure) { float: none; width: auto; margin: 0; padding: 0; list-style: none; font-weight: 400; }
.wb-panel [hidden], .wb-panel :is(p, label):empty { display: none !important; }
.wb-panel :focus-visible { outline: 2px solid var(--accent); outline-offset: -1px; }
.wb-panel :is(dt, h4, label, time, summary, figcaption, .wb-note, .wb-view, details, p + p) { color: var(--muted); font-size: 12px; }
.wb-panel .wb-good { color: light-dark(#1a7f4b, #6cc999); }
.wb-panel .wb-warn { color: light-dark(#8a5300, #e8b765); }
.wb-panel .wb-bad { color: light-dark(#b3261e, #ff9b90); }
.wb-panel .wb-hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.wb-panel :is(label, form, figcaption, .wb-title, .wb-controls, .wb-view, .wb-view > *, .wb-legend, .wb-legend > *) { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 6px; }
.wb-panel :is(.wb-title, .wb-legend, figcaption) { gap: 0 14px; }
.wb-panel strong { font-size: 15px; font-weight: 600; }
.wb-pill { padding: 0 9px; border: 1px solid; border-radius: 20px; font-size: 12px; }
.wb-panel :is(.wb-pill, b)::before { content: "○ " / ""; }
.wb-panel .wb-good::before { content: "● " / ""; }
.wb-panel :is(.wb-pill.wb-warn, .wb-warn b)::before { content: "◆ " / ""; }
.wb-panel :is(.wb-pill.wb-bad, .wb-bad b, button.wb-bad)::before { content: "■ " / ""; }
.wb-head dl { display: flex; flex-wrap: wrap; gap: 6px 28px; margin: 10px 0 9px; }
.wb-head dd { font-size: 15px; }
.wb-track { height: 3px; margin-bottom: 8px; background: var(--rule); }
.wb-bar { height: 100%; background: var(--accent); }
.wb-several .wb-head { display: flex; flex-wrap: wrap; gap: 4px 20px; align-items: center; margin-top: 10px; }
.wb-several .wb-title { flex: 1 200px; }
.wb-several dl { flex: 3 320px; margin: 0; gap: 0 12px; }
.wb-several dl div { flex: 1 64px; }
.wb-panel :is(.wb-several dd, .wb-several strong, figcaption strong) { font-size: 13px; }
.wb-several :is(.wb-track, .wb-note) { flex-basis: 100%; margin: 0; }
.wb-panel i { width: 16px; border-top: 2px solid; }
.wb-panel .wb-dotted { border-top-style: dotted; }
.wb-controls { margin-top: 12px; }
.wb-controls > :is(.wb-controls, p) { flex-basis: 100%; margin: 0; }
.wb-panel form { margin-right: 12px; }
.wb-panel :is(button, form input) { min-height: 28px; padding: 0 9px; font: inherit; color: inherit; background: none; border: 1px solid var(--rule); border-radius: 5px; text-align: left; }
.wb-panel :is(button:enabled:hover, [aria-pressed="true"]) { border-color: var(--muted); background: #80808026; color: var(--ink); cursor: pointer; }
.wb-panel :disabled { opacity: 0.5; }
.wb-panel form input { width: 76px; box-sizing: border-box; color: var(--ink); }
.wb-panel .wb-view { gap: 6px 20px; margin: 16px 0 10px; }
.wb-view input { accent-color: var(--accent); margin: 0; max-width: 110px; }
.wb-key { margin-left: auto; }
.wb-grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr)); gap: 16px 20px; }
.wb-small { margin-top: 16px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 280px), 1fr)); }
.wb-panel figure { min-width: 0; display: flex; flex-direction: column; justify-content: space-between; }
.wb-panel :is(figcaption strong, output, .wb-finding b + p) { color: var(--ink); padding: 0; }
.wb-plot { position: relative; }
.wb-plot canvas { position: absolute; inset: 0; width: 100%; height: 100%; cursor: crosshair; touch-action: pan-y; }
.wb-place { position: absolute; bottom: 0; padding: 0 6px; transform: translateX(-50%); background: var(--page); font-size: 11px; white-space: nowrap; pointer-events: none; }
.wb-panel section { margin-top: 16px; }
.wb-panel .wb-finding { display: grid; grid-template-columns: 92px 1fr; margin: 6px 0; padding-left: 10px; border-left: 3px solid; }
.wb-finding > :not(b) { grid-column: 2; }
.wb-panel summary { cursor: pointer; }
.wb-finding dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 14px; }
`;
