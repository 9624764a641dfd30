// From the columns of one or several runs to what each chart draws.

import { findBest } from "./status.js";
import { PALETTE } from "./chart.js";

const FEW = 30; // values that get a dot each and need no smoothing
const MARKED = ["stop", "pause", "learning_rate", "patience"]; // what changes a training

export function colorOf(number) {
	return PALETTE[number % PALETTE.length];
}

// Return the charts of runs [{name, color, store}] as [{title, small, model}]; view: {by: "epoch" or "step", log, smooth, singles}.
export function buildCharts(runs, view) {
	const frame = frameCharts(runs, view);
	const charts = listMetrics(runs).map((metric) => {
		const many = runs.length > 2;
		const lines = many ? traceMeans(runs, metric, view, frame) : runs.flatMap((run) => traceRun(run, metric, view, frame));
		const best = many ? [] : runs.flatMap((run) => markBest(run, metric, frame.axis));
		return { title: metric.replaceAll("_", " "), model: { ...frame, lines, best } };
	});
	const add = (title, lines, change) => lines.length && charts.push({ title, small: true, model: { ...frame, lines, best: [], ...change } });
	add("learning rate", runs.flatMap((run) => traceRate(run, frame)), { log: false });
	for (const [title, table] of [["gradient norm", "gradients"], ["update / weight", "updates"]]) {
		const { meta, length, metrics } = runs[0].store[table];
		add(title, traceGroups(metrics, meta[frame.axis], length), { log: true, snaps: meta[frame.axis].subarray(0, length) });
	}
	return charts;
}

// Return the metrics without `val_` twins, the loss first.
function listMetrics(runs) {
	const logged = runs.flatMap(({ store }) => [...store.epochs.metrics.keys(), ...store.steps.metrics.keys()]);
	const names = new Set(logged.map((name) => name.replace(/^val_/, "")));
	return [...names].sort((one, other) => (other === "loss") - (one === "loss"));
}

// Return what all charts share: the axis and its range, where the cursor stops, and the marks.
function frameCharts(runs, view) {
	const axis = view.by === "step" ? "batch" : "x";
	let [low, high, snaps] = [Infinity, -Infinity, new Float64Array(0)];
	for (const { store } of runs) {
		const dense = isDense(store);
		const table = dense && (axis === "batch" || store.epochs.length < 2) ? store.steps : store.epochs;
		if (table.length > snaps.length) snaps = table.meta[axis].subarray(0, table.length);
		for (const { meta, length } of store.tables) {
			if (!length) continue;
			low = Math.min(low, axis === "x" && dense ? Math.floor(meta.x[0]) : meta[axis][0]);
			high = Math.max(high, meta[axis][length - 1]);
		}
	}
	if (!(low < high)) [low, high] = Number.isFinite(high) ? [high - 1, high] : [0, 1];
	const controls = runs.flatMap(({ store }) => store.controls.filter(({ action, refused }) => !refused && MARKED.includes(action)));
	const marks = controls.map((control) => control[axis]);
	return { axis, unit: view.by, range: [low, high], snaps, marks, log: view.log, several: runs.length > 1 };
}

// Whether there are enough step events for a curve of their own; a fast training logs only a few.
function isDense({ steps, epochs }) {
	return steps.length > 1 && steps.length >= 3 * epochs.length;
}

// Return the lines of one metric of one run: steps thin, epochs dotted, validation solid.
function traceRun({ store, color, name: run }, metric, view, { axis, several }) {
	const { steps, epochs } = store;
	const dots = epochs.length < FEW;
	const lines = [];
	const trace = (table, column, name, look) => {
		const y = table.metrics.get(column);
		if (!y) return;
		const line = { x: table.meta[axis], y, count: table.length, color, alpha: 1, ...look };
		if (line.alpha > 0.5) line.name = several ? `${run} ${name}` : name;
		if (view.smooth && table.length >= FEW) {
			lines.push({ ...line, name: undefined, alpha: 0.25, width: 1, dots: false });
			Object.assign(line, { y: table.smooth(column, view.smooth), raw: y, alpha: 1 });
		}
		lines.push(line);
	};
	const fine = isDense(store) && (view.by === "step" || !epochs.metrics.has(metric));
	if (isDense(store)) trace(steps, metric, "training", { width: 1, alpha: fine ? 0.8 : 0.35 });
	if (!fine) trace(epochs, metric, "training", { dash: true, width: 1.6, dots });
	trace(epochs, `val_${metric}`, "validation", { width: 2, dots });
	return lines;
}

function markBest({ store, color }, metric, axis) {
	const best = findBest(store);
	return best?.metric.replace(/^val_/, "") === metric ? [{ x: store.epochs.meta[axis][best.row], y: best.value, color }] : [];
}

// Return means over the runs by epoch, each in a band from the lowest to the highest.
function traceMeans(runs, metric, view, frame) {
	const singles = view.singles ? runs.flatMap((run) => traceRun(run, metric, { by: "epoch" }, frame)) : [];
	const thin = singles.filter((line) => line.name).map((line) => ({ ...line, name: undefined, width: 1, alpha: 0.75, dots: false }));
	const color = view.singles ? PALETTE.at(-1) : PALETTE[0]; // beside the runs, that of none
	const kinds = [["training mean", metric, 1.6, true], ["validation mean", `val_${metric}`, 2.2, false]];
	const means = kinds.map(([name, column, width, dash]) => ({ ...gatherMean(runs, column, frame.axis), name, color, dash, width, alpha: 1, dots: true }));
	return [...thin, ...means.filter((mean) => mean.count)];
}

function gatherMean(runs, metric, axis) {
	const rows = {}; // by epoch, in which order they come out again
	for (const { store } of runs) {
		const { meta, metrics, length } = store.epochs;
		metrics.get(metric)?.subarray(0, length).forEach((value, at) => {
			if (Number.isFinite(value)) (rows[meta.x[at]] ??= { x: meta[axis][at], values: [] }).values.push(value);
		});
	}
	const column = (read) => Object.values(rows).map(read);
	return {
		count: Object.values(rows).length,
		x: column((row) => row.x),
		y: column(({ values }) => values.reduce((sum, value) => sum + value) / values.length),
		low: column(({ values }) => Math.min(...values)),
		high: column(({ values }) => Math.max(...values)),
		runs: column(({ values }) => values.length),
	};
}

function traceRate({ store, color }, { axis, several }) {
	const { meta, length } = isDense(store) ? store.steps : store.epochs;
	const line = { x: meta[axis], y: meta.rate, count: length, color, width: 1.6, alpha: 1 };
	return meta.rate.some(Number.isFinite) ? [{ ...line, name: several ? undefined : "" }] : [];
}

function traceGroups(metrics, x, count) {
	return [...metrics].map(([name, y], number) => {
		const look = { color: colorOf(number), dash: number >= PALETTE.length, width: 1.4, alpha: 1, dots: count < FEW };
		return { name, x, y, count, ...look };
	});
}
