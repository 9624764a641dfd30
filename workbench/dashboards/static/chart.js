// Line charts on a canvas: what is drawn is bounded by the width, not by the length of the history.

import { formatValue, make, setText } from "./dom.js";

// As PALETTE in workbench/figures/style.py.
export const PALETTE = ["#1F88D0", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F"];
const [INK, GRID, MARK] = ["#7a7a7a", "#80808038", "#c98500"]; // on light and on dark pages
const [LEFT, RIGHT, TOP, BOTTOM] = [46, 12, 10, 22]; // CSS pixels around the plot

// Return the row of the nearest of rising values, -1 if there are none.
function findNearest(values, count, value) {
	let [low, high] = [0, count];
	while (low < high) {
		const middle = (low + high) >> 1;
		if (values[middle] <= value) low = middle + 1;
		else high = middle;
	}
	return low && !(values[low] - value < value - values[low - 1]) ? low - 1 : Math.min(low, count - 1);
}

// Return [column, value, …] for drawing: the points themselves while they are few, else the lowest and the
// highest of each pixel column, so that no peak is lost.
function decimate(x, y, count, left, scale, columns) {
	const drawn = [];
	const few = count <= 2 * columns;
	let [column, low, high] = [NaN];
	for (let row = 0; row < count; row++) {
		const [at, value] = [(x[row] - left) * scale, y[row]];
		if (few) drawn.push(at, value);
		else if (Math.floor(at) !== column) {
			if (row) drawn.push(column, low, column, high);
			column = Math.floor(at);
			low = high = value;
		} else if (Number.isFinite(value)) {
			if (!(value >= low)) low = value;
			if (!(value <= high)) high = value;
		}
	}
	if (!few) drawn.push(column, low, column, high);
	return drawn;
}

// Return round numbers between two values, about `count` of them.
function findTicks(low, high, count, smallest = 0) {
	const rough = (high - low) / count;
	const power = 10 ** Math.floor(Math.log10(rough));
	const size = Math.max(smallest, [1, 2, 5, 10].find((each) => each * power >= rough * 0.999) * power);
	const first = Math.ceil(low / size - 1e-9);
	return Array.from({ length: Math.floor(high / size + 1e-9) - first + 1 }, (_, at) => (first + at) * size);
}

// Return the logarithms of powers of ten, and of 2 and 5 times them where they are few.
function findDecades(low, high) {
	const between = high - low < 1.6 ? [1, 2, 5] : [1];
	const ticks = findTicks(Math.floor(low), high, 5, 1).flatMap((power) => between.map((each) => power + Math.log10(each)));
	return ticks.filter((tick) => tick >= low && tick <= high);
}

// One chart; `move(x, spoken)` is told where the cursor is wanted.
//
// model: {unit, range, log, lines, best: [{x, y, color}], marks: [x], snaps: where the cursor stops}
// line: {x, y, count, color, dash, width, alpha, dots}, with a `name` if it stands in the legend, `raw` values if
//   y is smoothed, `low` and `high` for a band around a mean
export class Chart {
	constructor(title, height, move) {
		Object.assign(this, { title, foot: height - BOTTOM, move, width: 0, cursor: null });
		this.legend = make("div.wb-legend");
		this.place = make("span.wb-place");
		this.base = make("canvas", { height, "aria-hidden": true });
		this.top = make("canvas.wb-top", { height, role: "img", tabindex: 0 });
		const plot = make("div.wb-plot", { style: `height:${height}px` }, this.base, this.top, this.place);
		this.element = make("figure", {}, make("figcaption", {}, make("strong", {}, title), this.legend), plot);
		for (const type of ["pointermove", "pointerdown"]) this.top.addEventListener(type, (event) => this.#point(event));
		for (const type of ["pointerleave", "blur"]) this.top.addEventListener(type, () => move(null));
		this.top.addEventListener("keydown", (event) => this.#press(event));
		this.observer = new ResizeObserver(() => {
			if (plot.clientWidth !== this.width) this.draw({ width: plot.clientWidth });
		});
		this.observer.observe(plot);
	}

	draw(change) {
		Object.assign(this, change);
		const { model, width } = this;
		if (!model || width < 80) return;
		const [left, right] = model.range;
		const columns = width - LEFT - RIGHT;
		this.scale = columns / (right - left);
		const paths = model.lines.map((line) => {
			const [points, low, high] = [line.y, line.low, line.high].map((y) => (y ? decimate(line.x, y, line.count, left, this.scale, columns) : []));
			return { line, points, low, high };
		});
		this.#fit(paths);
		const pen = this.#clear(this.base);
		this.#drawGrid(pen);
		pen.beginPath();
		pen.rect(LEFT - 4, 0, columns + 8, this.foot + 4);
		pen.clip();
		for (const x of model.marks) {
			this.#stroke(pen, x, MARK, [2, 3]);
			pen.fill(new Path2D(`M${this.#across(x) - 4} ${TOP - 6}h8l-4 6z`));
		}
		for (const path of paths) this.#drawPath(pen, path);
		for (const { x, y, color } of model.best) this.#circle(pen, this.#across(x), this.#down(y), 6.5, color);
		this.base.dataset.segments = Math.max(0, ...paths.map(({ points }) => points.length / 2));
		this.#makeLegend();
		this.drawCursor();
		this.top.setAttribute("aria-label", `${this.title}: ${this.describe(model.snaps.at(-1) ?? 0)}`);
	}

	// Draw the cursor and write the values there, else the latest ones, into the legend.
	drawCursor() {
		if (!this.values) return;
		const pen = this.#clear(this.top);
		const x = this.cursor;
		for (const [line, text] of this.values) setText(text, this.#read(line, x));
		this.place.hidden = x === null;
		if (x === null) return;
		this.#stroke(pen, x, INK, []);
		for (const [{ x: known, y, count, color }] of this.values) {
			const row = findNearest(known, count, x);
			if (Math.abs(known[row] - x) * this.scale < 6) this.#circle(pen, this.#across(known[row]), this.#down(y[row]), 3.5, color);
		}
		setText(this.place, this.#name(x));
		this.place.style.left = `${Math.max(30, Math.min(this.width - 40, this.#across(x)))}px`;
	}

	describe(x) {
		const named = this.values.map(([line]) => `${line.name} ${this.#read(line, x)}`.trim());
		return [this.#name(x), ...named, ...this.model.best.map(({ y }) => `best ${formatValue(y)}`)].join(", ");
	}

	#name(x) {
		return `${this.model.unit} ${formatValue(Math.round(x * 100) / 100, 8)}`;
	}

	#read({ x, y, raw, count, low, high, runs }, at) {
		const row = at === null ? count - 1 : findNearest(x, count, at);
		const span = low ? ` (${formatValue(low[row])} to ${formatValue(high[row])}, ${runs[row]} runs)` : "";
		return formatValue((raw ?? y)[row]) + span;
	}

	#clear(canvas) {
		const ratio = globalThis.devicePixelRatio || 1;
		const [width, height] = [this.width, this.foot + BOTTOM].map((side) => Math.round(side * ratio));
		if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
		const pen = canvas.getContext("2d");
		pen.reset();
		pen.scale(ratio, ratio);
		return Object.assign(pen, { font: "11px system-ui, sans-serif", textBaseline: "middle", textAlign: "center", lineJoin: "round" });
	}

	// Make everything fit; a scale without a value above zero is not logarithmic.
	#fit(paths) {
		const drawn = paths.flatMap(({ points, low, high }) => [points, low, high].flat());
		const values = drawn.filter((value, at) => at % 2 && Number.isFinite(value));
		const positive = this.model.log ? values.filter((value) => value > 0) : [];
		this.log = positive.length > 0;
		this.empty = !values.length;
		const shown = this.empty ? [0, 1] : this.log ? positive.map(Math.log10) : values;
		const [low, high] = [Math.min, Math.max].map((choose) => shown.reduce((one, other) => choose(one, other)));
		const room = (high - low) * 0.05 || Math.abs(high) * 0.1 || 0.1;
		[this.low, this.high] = [low - room, high + room];
	}

	#across(x) {
		return LEFT + (x - this.model.range[0]) * this.scale;
	}

	#down(value) {
		const share = ((this.log ? Math.log10(value) : value) - this.low) / (this.high - this.low);
		return TOP + (1 - share) * (this.foot - TOP);
	}

	#drawGrid(pen) {
		const { foot, width, model } = this;
		Object.assign(pen, { fillStyle: INK, strokeStyle: GRID });
		for (const x of findTicks(...model.range, Math.max(2, (width - LEFT) / 70), 1)) {
			const text = formatValue(x, 6);
			pen.fillText(text, Math.min(this.#across(x), width - pen.measureText(text).width / 2), foot + 12);
		}
		pen.textAlign = "right";
		pen.fillText(model.unit, LEFT - 12, foot + 12);
		if (this.empty) return pen.fillText("no finite value yet", width - RIGHT, TOP + 12);
		for (const tick of this.log ? findDecades(this.low, this.high) : findTicks(this.low, this.high, (foot - TOP) / 40)) {
			const value = this.log ? 10 ** tick : tick;
			const y = Math.round(this.#down(value)) + 0.5;
			pen.stroke(new Path2D(`M${LEFT} ${y}H${width - RIGHT}`));
			pen.fillText(formatValue(value, 3), LEFT - 7, y);
		}
	}

	#stroke(pen, x, color, dash) {
		pen.strokeStyle = pen.fillStyle = color;
		pen.setLineDash(dash);
		pen.stroke(new Path2D(`M${Math.round(this.#across(x)) + 0.5} ${TOP}V${this.foot}`));
		pen.setLineDash([]);
	}

	#drawPath(pen, { line, points, low, high }) {
		pen.strokeStyle = pen.fillStyle = line.color;
		pen.beginPath();
		for (let at = 0; at < low.length; at += 2) pen.lineTo(LEFT + low[at], this.#down(low[at + 1]));
		for (let at = high.length - 2; at >= 0; at -= 2) pen.lineTo(LEFT + high[at], this.#down(high[at + 1]));
		pen.globalAlpha = 0.16;
		pen.fill();
		Object.assign(pen, { globalAlpha: line.alpha, lineWidth: line.width });
		pen.setLineDash(line.dash ? [1.5, 3] : []);
		pen.beginPath();
		let drawing = false;
		for (let at = 0; at < points.length; at += 2) {
			const [x, y] = [LEFT + points[at], this.#down(points[at + 1])];
			if (drawing && Number.isFinite(y)) pen.lineTo(x, y);
			else pen.moveTo(x, y);
			drawing = Number.isFinite(y);
		}
		pen.stroke();
		pen.setLineDash([]);
		for (let at = 0; line.dots && at < points.length; at += 2) this.#circle(pen, LEFT + points[at], this.#down(points[at + 1]), 2.2, line.color);
		pen.globalAlpha = pen.lineWidth = 1;
	}

	// Draw a dot, or a ring if it is large.
	#circle(pen, x, y, radius, color) {
		pen.fillStyle = pen.strokeStyle = color;
		pen.beginPath();
		if (Number.isFinite(y)) pen.arc(x, y, radius, 0, 7);
		if (radius > 5) pen.stroke();
		else pen.fill();
	}

	#makeLegend() {
		const named = this.model.lines.filter(({ name }) => name !== undefined);
		const key = JSON.stringify(named.map(({ name, color, dash }) => [name, color, dash]));
		if (key !== this.key) {
			this.values = named.map((line) => [line, make("output", { "aria-live": "off" })]);
			const spans = this.values.map(([{ name, color, dash }, text]) => {
				const swatch = make(dash ? "i.wb-dotted" : "i", { style: `color:${color}` });
				return make("span", {}, ...(name ? [swatch, name] : []), text);
			});
			this.legend.replaceChildren(...spans);
		}
		this.key = key;
		named.forEach((line, at) => (this.values[at][0] = line));
	}

	#point({ clientX }) {
		if (!this.values) return;
		const { snaps, range } = this.model;
		const x = range[0] + (clientX - this.top.getBoundingClientRect().left - LEFT) / this.scale;
		this.move(snaps[findNearest(snaps, snaps.length, x)] ?? null);
	}

	#press(event) {
		const { snaps } = this.model;
		const last = snaps.length - 1;
		const row = this.cursor === null ? last + 1 : findNearest(snaps, snaps.length, this.cursor);
		const stride = event.shiftKey ? 10 : 1;
		const rows = { ArrowLeft: row - stride, ArrowRight: row + stride, Home: 0, End: last, Escape: NaN };
		if (!Object.hasOwn(rows, event.key)) return;
		event.preventDefault();
		this.move(snaps[Math.max(0, Math.min(last, rows[event.key]))] ?? null, true);
	}
}
