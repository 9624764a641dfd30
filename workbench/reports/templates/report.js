"use strict";
// Draws the figures in the colours of the page: first those near the window, the others when the browser is idle.

const looks = JSON.parse(document.getElementById("looks").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const whenIdle = window.requestIdleCallback ?? ((task) => setTimeout(task, 50));
const canvases = [...document.querySelectorAll(".canvas")];
const settings = {
  displaylogo: false,
  responsive: true,
  modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
  toImageButtonOptions: { format: "svg" },
};
const paper = 660; // pixels that fit on a printed page, whether A4 or letter
let printing = false;

function look() {
  return looks[dark.matches && !printing ? "dark" : "light"];
}

function isDrawn(canvas) {
  return canvas.classList.contains("js-plotly-plot");
}

function isShown(canvas) {
  return canvas.checkVisibility(); // not inside something folded
}

function draw(canvas) {
  if (isDrawn(canvas) || !window.Plotly) return;
  const figure = JSON.parse(document.getElementById(canvas.dataset.figure).textContent);
  const square = figure.layout.yaxis?.scaleanchor; // else it would float in a tall and narrow space
  if (square) canvas.style.height = `${Math.min(canvas.clientHeight, canvas.clientWidth + 40)}px`;
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
  for (const canvas of canvases.filter(isDrawn)) {
    const pictures = [...canvas.querySelectorAll("image")].map((each) => each.getAttribute("href"));
    Plotly.relayout(canvas, { template: look() });
    // plotly loads pictures anew, and a printer does not wait for that
    canvas.querySelectorAll("image").forEach((each, number) => {
      if (!each.getAttribute("href") && pictures[number]) each.setAttribute("href", pictures[number]);
    });
  }
}

// A link into something folded opens it and all around it.
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let each = target; each; each = each.parentElement) {
    if (each instanceof HTMLDetailsElement) each.open = true;
  }
  target?.scrollIntoView();
}

async function unpack(id) {
  const packed = atob(document.getElementById(id).textContent);
  const bytes = new Uint8Array(packed.length);
  for (let place = 0; place < packed.length; place++) bytes[place] = packed.charCodeAt(place);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

// Sorts a table by the column whose head was pressed; pressed again, the other way round.
function sortRows(head) {
  const body = head.closest("table").tBodies[0];
  const column = head.cellIndex;
  const falling = head.getAttribute("aria-sort") === "ascending";
  const order = new Intl.Collator(undefined, { numeric: true }).compare;
  const text = (row) => row.cells[column]?.textContent.trim() ?? "";
  const number = (row) => parseFloat(text(row).replaceAll(",", ""));
  const numeric = head.classList.contains("number");
  const compare = numeric ? (one, other) => number(one) - number(other) : (one, other) => order(text(one), text(other));
  const rows = [...body.rows].sort((one, other) => (falling ? -1 : 1) * compare(one, other));
  for (const each of head.parentElement.cells) each.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", falling ? "descending" : "ascending");
  body.append(...rows);
}

function makeSortable(table) {
  for (const head of table.tHead.rows[0].cells) {
    if (head.classList.contains("strip")) continue;
    head.tabIndex = 0;
    head.addEventListener("click", () => sortRows(head));
    head.addEventListener("keydown", (event) => event.key === "Enter" && sortRows(head));
  }
}

function addCopyButton(source) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "copy";
  button.addEventListener("click", async () => {
    await copy((source.querySelector("code") ?? source).innerText.replace(/\ncopy$/, ""));
    button.textContent = "copied";
  });
  source.append(button);
}

// Pages opened by double-click have no clipboard in some browsers.
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.body.appendChild(document.createElement("textarea"));
  area.value = text;
  area.select();
  document.execCommand("copy");
  area.remove();
}

async function saveAttachment(button) {
  const text = await unpack(`${button.dataset.figure}-full`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = `${button.dataset.figure}.json`;
  link.click();
  URL.revokeObjectURL(link.href);
}

// plotly.js lies packed in the page; the page's policy knows the hash of what comes out.
async function loadPlotly() {
  const script = document.createElement("script");
  script.textContent = await unpack("plotly");
  document.head.append(script);
}

async function drawFigures() {
  await loadPlotly();
  const observer = new IntersectionObserver(drawVisible, { rootMargin: "600px" });
  for (const canvas of canvases) observer.observe(canvas);
  whenIdle(drawNext);
  dark.addEventListener("change", recolor);
}

window.addEventListener("hashchange", openTarget);
window.addEventListener("beforeprint", () => {
  printing = true;
  canvases.filter(isShown).forEach(draw);
  if (dark.matches) recolor();
  for (const canvas of canvases) canvas.style.zoom = Math.min(1, paper / canvas.clientWidth);
});
window.addEventListener("afterprint", () => {
  printing = false;
  for (const canvas of canvases) canvas.style.zoom = "";
  if (dark.matches) recolor();
});
document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll(".source").forEach(addCopyButton);
for (const each of document.querySelectorAll(".attachment")) each.addEventListener("click", () => saveAttachment(each));
openTarget();
if (canvases.length) drawFigures();
