"use strict";
// Draws the figures in the colours of the page: first those near the window, the others when the browser is idle.

const looks = JSON.parse(document.getElementById("looks").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const whenIdle = window.requestIdleCallback ?? ((task) => setTimeout(task, 50));
const canvases = [...document.querySelectorAll(".canvas")];
const settings = {
  displaylogo: false,
  responsive: true,
  modeBarButtons: [["toImage"]],
  toImageButtonOptions: { format: "svg" },
};
let printing = false;

function look() {
  return looks[dark.matches && !printing ? "dark" : "light"];
}

function isDrawn(canvas) {
  return canvas.classList.contains("js-plotly-plot");
}

function isShown(canvas) {
  return canvas.offsetParent !== null; // not inside a folded run
}

function draw(canvas) {
  if (isDrawn(canvas)) return;
  const figure = JSON.parse(document.getElementById(canvas.dataset.figure).textContent);
  const layout = { ...figure.layout, template: look(), height: canvas.clientHeight };
  Plotly.newPlot(canvas, figure.data, layout, settings);
}

function drawVisible(entries, observer) {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    observer.unobserve(entry.target);
    draw(entry.target);
  }
}

function drawNext() {
  const canvas = canvases.find((each) => !isDrawn(each) && isShown(each));
  if (!canvas) return;
  draw(canvas);
  whenIdle(drawNext);
}

function recolor() {
  for (const canvas of canvases.filter(isDrawn)) Plotly.relayout(canvas, { template: look() });
}

// A link into a folded run opens it.
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
}

const observer = new IntersectionObserver(drawVisible, { rootMargin: "600px" });
for (const canvas of canvases) observer.observe(canvas);
whenIdle(drawNext);
dark.addEventListener("change", recolor);
window.addEventListener("hashchange", openTarget);
window.addEventListener("beforeprint", () => {
  printing = true;
  canvases.filter(isShown).forEach(draw);
  recolor();
});
window.addEventListener("afterprint", () => {
  printing = false;
  recolor();
});
openTarget();
