"use strict";
// Draws each figure when it first comes near the window, in the colours of the page.

const looks = JSON.parse(document.getElementById("looks").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const settings = {
  displaylogo: false,
  responsive: true,
  modeBarButtons: [["toImage"]],
  toImageButtonOptions: { format: "svg" },
};
let printing = false;

function draw(canvas) {
  const figure = JSON.parse(document.getElementById(canvas.dataset.figure).textContent);
  figure.layout.template = looks[dark.matches && !printing ? "dark" : "light"];
  figure.layout.height = canvas.clientHeight;
  Plotly.newPlot(canvas, figure.data, figure.layout, settings);
}

function isDrawn(canvas) {
  return canvas.classList.contains("js-plotly-plot");
}

function redrawAll() {
  for (const canvas of document.querySelectorAll(".js-plotly-plot")) draw(canvas);
}

function drawVisible(entries, observer) {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    observer.unobserve(entry.target);
    draw(entry.target);
  }
}

// A link into a folded run opens it.
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
}

const observer = new IntersectionObserver(drawVisible, { rootMargin: "600px" });
for (const canvas of document.querySelectorAll(".canvas")) observer.observe(canvas);
dark.addEventListener("change", redrawAll);
window.addEventListener("hashchange", openTarget);
window.addEventListener("beforeprint", () => {
  printing = true;
  redrawAll();
  for (const canvas of document.querySelectorAll(".canvas")) {
    if (!isDrawn(canvas) && canvas.offsetParent !== null) draw(canvas);
  }
});
window.addEventListener("afterprint", () => {
  printing = false;
  redrawAll();
});
openTarget();
