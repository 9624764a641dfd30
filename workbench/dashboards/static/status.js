// What a log says about a training: its state, pace and best epoch.

import { formatDuration, formatValue, make, setText } from "./dom.js";

const UNDER_WAY = ["running", "paused", "stopping"];
const [GOOD, WARN, BAD] = ["wb-good", "wb-warn", "wb-bad"];
const TONES = {
	...{ running: GOOD, finished: GOOD, done: GOOD, fresh: GOOD, paused: WARN, stopping: WARN, stopped: WARN },
	...{ failed: BAD, killed: BAD, interrupted: BAD }, // some are states of a pipeline's step
};

// Return the state of a run as {key, word, note}. `status` is the server's, null for a saved log.
function describeState({ fit, end, waiting }, status) {
	const state = (key, note = "", word = key) => ({ key, word, note });
	if (end?.status === "failed") return state("failed", end.error);
	if (fit?.end && !waiting) {
		const { reason, stopped, epochs, restored } = fit.end;
		const back = Number.isFinite(restored) ? `The model has the weights of epoch ${restored + 1}. ` : "";
		const place = `after ${epochs} of ${fit.epochs} epochs. ${back}`;
		if (reason === "by hand") return state("stopped", `Stopped ${place}`, "stopped by hand");
		const early = stopped ? `${reason === "early stopping" ? "Early stopping" : "Ended"} ${place}` : "";
		return state("finished", early + (status === "killed" ? "Its kernel ended without run.finish()." : ""));
	}
	if (status === "failed") return state("failed");
	if (status === "killed") return state("killed", "Its process ended before the training did.");
	if (end || status === "finished") return state("finished");
	if (waiting && status === "") return state("loading");
	if (waiting) return state("waiting", "No training has begun yet.");
	if (fit.broken) return state("interrupted", `fit was broken off by ${fit.broken.error}.`);
	if (status === null || status === "missing") return state("unfinished");
	return state(fit.stopping ? "stopping" : fit.paused ? "paused" : "running");
}

// Return the best epoch as {metric, value, row}, by the monitored metric; null before the first.
export function findBest({ epochs, fit }) {
	const metric = [fit?.monitor, "val_loss", "loss"].find((name) => epochs.metrics.has(name));
	const values = epochs.metrics.get(metric);
	const sign = fit?.mode === "max" ? -1 : 1;
	let best = null;
	for (let row = 0; values && row < epochs.length; row++) {
		const value = epochs.meta.fit[row] === fit.id ? values[row] : NaN;
		if (Number.isFinite(value) && !(best && sign * value >= sign * best.value)) best = { metric, value, row };
	}
	return best;
}

// Return number and seconds of the fit's latest epochs, with the share of one cut short.
function sumEpochs({ epochs, fit }, most) {
	const { meta } = epochs;
	let [done, spent] = [0, 0];
	for (let row = epochs.length - 1; done < most && meta.fit[row] === fit.id; row--) {
		done += meta.x[row] - fit.offset - meta.epoch[row];
		spent += meta.seconds[row] || 0;
	}
	return [done, spent];
}

// Return batches a second: over the last steps of a running training, else over its epochs.
function measureRate(store, running) {
	const { epoch, time, step, x } = store.steps.meta;
	const inEpoch = (row) => epoch[row - 1] === epoch[row] && step[row - 1] < step[row];
	const last = store.steps.length - 1;
	let from = last;
	while (last - from < 20 && inEpoch(from) && time[from - 1] >= store.fit.resumed) from -= 1;
	const recent = !(x[last] < store.epochs.meta.x[store.epochs.length - 1] - 1);
	if (running && recent && from < last) return (step[last] - step[from]) / (time[last] - time[from]);
	const [done, spent] = sumEpochs(store, running ? 1 : Infinity);
	return (store.fit.pace * done) / spent;
}

// Return the seconds of the present fit, without pauses.
function measureTime({ fit, time }) {
	return time - fit.time - fit.pauses;
}

// Return the seconds until the last planned epoch is over, NaN if unknown.
function estimateLeft(store) {
	const { epochs, last, first, pace } = store.fit;
	const [done, spent] = sumEpochs(store, 3);
	return (epochs - last) * (spent ? spent / done : pace ? measureTime(store) / (last - first) : NaN);
}

export function describeControl({ action, value, old, epoch, by, refused }) {
	const words = {
		stop: value === "epoch" ? "stop after this epoch" : "stop now",
		pause: value === false ? "resume" : "pause",
		checkpoint: "save a checkpoint",
		measure_layers: "measure the layers",
	};
	const change = [old, value].filter(Number.isFinite).map((each) => formatValue(each)).join(" → ");
	const what = Object.hasOwn(words, action) ? words[action] : `${String(action).replaceAll("_", " ")} ${change}`;
	const done = `${what}${Number.isFinite(epoch) ? `, epoch ${epoch + 1}` : ""}, from the ${by}`;
	return refused ? `refused: ${done}. ${refused}` : done;
}

// The head of one run: its state, progress and pace; `title` is its name or a button with it.
export class RunHead {
	constructor(name, title, color) {
		this.pill = make("span");
		this.bar = make("div.wb-bar");
		this.track = make("div.wb-track", { role: "progressbar", "aria-label": `${name}: epochs` }, this.bar);
		this.note = make("p.wb-note");
		this.facts = [1, 2, 3, 4, 5].map(() => [make("dt"), make("dd")]);
		this.list = make("dl", {}, ...this.facts.map((pair) => make("div", {}, ...pair)));
		const line = make("div.wb-title", {}, ...(color ? [make("i", { style: `color:${color}` })] : []), title, this.pill);
		this.element = make("header.wb-head", {}, line, this.list, this.track, this.note);
	}

	// Show how a run stands and return its state; `active` tells whether the training can hear a request.
	update({ store, status, error }) {
		const state = describeState(store, status);
		const gone = status === "missing" && store.time ? "The run folder is gone; this was saved with the notebook." : "";
		this.show(state.key, state.word, `${state.note} ${gone} ${error}`.trim());
		this.showFacts(store, state.key);
		return { ...state, active: status === "running" && UNDER_WAY.includes(state.key) };
	}

	show(key, word, note) {
		this.pill.className = `wb-pill ${TONES[key] ?? ""}`;
		setText(this.pill, word);
		setText(this.note, note);
	}

	showFacts(store, key) {
		const { fit, memory } = store;
		this.list.hidden = this.track.hidden = !fit;
		if (!fit) return;
		const running = key === "running" || key === "stopping";
		const best = findBest(store);
		const done = fit.end ? fit.end.epochs : fit.last;
		const share = fit.epochs ? Math.min(1, done / fit.epochs) : 0;
		const number = fit.end ? done : Math.min(Math.floor(done) + 1, fit.epochs ?? Infinity);
		const rate = measureRate(store, running) * (fit.batchSize ?? 1);
		const left = ["time left", formatDuration(running ? estimateLeft(store) : NaN)];
		const facts = [
			["epoch", fit.epochs ? `${number} / ${fit.epochs}` : String(number)],
			[fit.batchSize ? "samples/s" : "batches/s", rate > 0 && rate < Infinity ? Number(rate.toPrecision(3)).toLocaleString("en") : "–"],
			UNDER_WAY.includes(key) ? left : ["took", formatDuration(fit.end?.seconds ?? measureTime(store))],
			["memory", memory ? `${formatValue(memory / 1e9, 3)} GB` : "–"],
			[`best ${best?.metric ?? ""}`, best ? `${formatValue(best.value)} in epoch ${store.epochs.meta.epoch[best.row] + 1}` : "–"],
		];
		facts.forEach((texts, at) => texts.forEach((text, part) => setText(this.facts[at][part], text)));
		this.bar.style.width = `${100 * share}%`;
		this.track.setAttribute("aria-valuenow", Math.round(100 * share));
	}
}
