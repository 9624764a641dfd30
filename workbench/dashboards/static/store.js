// The event log of a run as columns of numbers that grow, and who reads it.

const SPELLED = new Map([["NaN", NaN], ["Infinity", Infinity], ["-Infinity", -Infinity]]);
const PLACE = ["fit", "epoch", "x", "batch", "time"]; // x: epochs, batch: batches since the start
const PAUSES = { running: 500, missing: 3000, ended: 10000 }; // ms; a run that ended may be started again
const SHORTEST_PAUSE = 100;
const LONGEST_PAUSE = 5000; // after an error

function readNumber(value) {
	return typeof value === "number" ? value : SPELLED.get(value);
}

function readCount(value) {
	return Number.isFinite(value) && value > 0 ? value : null;
}

// Rows of numbers: fixed columns in `meta`, one for every metric in `metrics`; NaN where there is no value.
class Table {
	constructor(...names) {
		this.length = 0;
		this.room = 256;
		this.meta = Object.fromEntries(names.map((name) => [name, this.#widen([])]));
		this.metrics = new Map();
		this.averages = new Map();
	}

	append(meta, metrics) {
		if (this.length === this.room) {
			this.room *= 2;
			for (const name in this.meta) this.meta[name] = this.#widen(this.meta[name]);
			for (const [name, column] of this.metrics) this.metrics.set(name, this.#widen(column));
		}
		for (const name in this.meta) this.meta[name][this.length] = meta[name] ?? NaN;
		for (const [name, value] of metrics) {
			if (!this.metrics.has(name)) this.metrics.set(name, this.#widen([]));
			this.metrics.get(name)[this.length] = value;
		}
		this.length += 1;
	}

	filter(keep) {
		const kept = Array.from({ length: this.length }, (_, row) => row).filter(keep);
		for (const column of [...Object.values(this.meta), ...this.metrics.values()]) {
			kept.forEach((from, to) => (column[to] = column[from]));
			column.fill(NaN, kept.length);
		}
		this.length = kept.length;
		this.averages.clear();
	}

	// Return the exponential moving average of a metric, free of the bias of its start (as TensorBoard's).
	smooth(metric, weight) {
		let average = this.averages.get(metric);
		if (average?.weight !== weight) average = { weight, done: 0, sum: 0, share: 0, values: [] };
		this.averages.set(metric, average);
		if (average.values.length < this.room) average.values = this.#widen(average.values);
		for (; average.done < this.length; average.done++) {
			const value = this.metrics.get(metric)[average.done];
			if (!Number.isFinite(value)) continue;
			average.sum = average.sum * weight + (1 - weight) * value;
			average.share = average.share * weight + (1 - weight);
			average.values[average.done] = average.sum / average.share;
		}
		return average.values;
	}

	#widen(column) {
		const wider = new Float64Array(this.room).fill(NaN);
		wider.set(column);
		return wider;
	}
}

export class RunStore {
	constructor() {
		this.fits = []; // of all attempts, without what a later one replayed
		this.steps = new Table(...PLACE, "step", "rate");
		this.epochs = new Table(...PLACE, "rate", "seconds");
		this.gradients = new Table(...PLACE); // a metric is a group of layers
		this.updates = new Table(...PLACE);
		this.tables = [this.steps, this.epochs, this.gradients, this.updates];
		[this.controls, this.findings] = [[], []];
		this.metrics = new Map(); // the latest value of each
		this.waiting = true; // for a fit
	}

	get fit() {
		return this.fits.at(-1);
	}

	// Add lines of the log; a damaged one is left out.
	addLines(text) {
		for (const line of text.split("\n")) {
			let event;
			try {
				event = JSON.parse(line);
			} catch {
				continue;
			}
			this.add(event);
		}
	}

	// Add one event; what is not known here is left out.
	add(event) {
		const { type, time } = event ?? {};
		this.time = time ?? this.time;
		if (type === "start") [this.waiting, this.end] = [true, null];
		else if (type === "fit") this.#addFit(event);
		else if (type === "step") this.#addRow(this.steps, event, event.step ?? NaN);
		else if (type === "epoch") this.#addRow(this.epochs, event, event.step ?? null);
		else if (type === "layers") this.#addLayers(event);
		else if (type === "control") this.#addControl(event);
		else if (type === "finding") this.#addFinding(event);
		else if (type === "broken" && this.fit) this.fit.broken = event;
		else if (type === "fit_end" && this.fit) this.fit.end = event;
		else if (type === "end") this.end = event;
	}

	#addFit(event) {
		const [id, first, pace] = [event.fit ?? 1, event.initial_epoch ?? 0, readCount(event.batches)]; // batches an epoch
		const origin = this.fits.find((fit) => fit.id === id)?.origin ?? first; // its first epoch, before it was resumed
		this.#dropReplayed(id, first, event.initial_batch ?? 0);
		const before = this.fit;
		const trained = before ? Math.ceil(before.last) : 0;
		const offset = before ? Math.max(0, before.offset + trained - origin) : 0; // epochs of earlier fits
		const start = before ? before.start + (trained - before.origin) * before.pace : origin * pace;
		this.fits.push({
			...{ id, origin, offset, pace, start, time: event.time, monitor: event.monitor },
			first, // epochs done before
			last: first, // and now, with the share of the present one
			epochs: readCount(event.epochs),
			batchSize: readCount(event.batch_size),
			patience: event.patience ?? null, // 0 is one
			resumed: -Infinity, // time
			pauses: 0, // seconds of them
		});
		[this.waiting, this.end] = [false, null];
	}

	// As `workbench.events.drop_replayed`, but later fits begin anew too: rows stay in order.
	#dropReplayed(id, first, batch) {
		for (const table of this.tables) {
			const { fit, epoch, step } = table.meta;
			const done = (row) => epoch[row] < first || (epoch[row] === first && step?.[row] <= batch);
			table.filter((row) => fit[row] < id || (fit[row] === id && done(row)));
		}
		this.findings = this.findings.filter(({ fit, epoch }) => fit < id || (fit === id && (epoch ?? Infinity) < first));
		this.fits = this.fits.filter((fit) => fit.id < id);
		this.metrics.clear();
	}

	#addRow(table, event, step) {
		if (!Number.isFinite(event.epoch + step)) return;
		if (this.waiting) this.#addFit({ ...event, initial_epoch: event.epoch }); // its own line is damaged
		const values = Object.entries(event.metrics ?? {}).map(([name, value]) => [name, readNumber(value)]);
		const metrics = values.filter(([name, value]) => value !== undefined && name !== "learning_rate"); // has its own field
		for (const [name, value] of metrics) this.metrics.set(name, value);
		const rate = readNumber(event.learning_rate);
		this.rate = rate ?? this.rate;
		this.memory = readCount(event.memory) ?? this.memory;
		if (step === null) this.fit.pace ??= readCount(event.batches);
		if (event.mode) this.fit.mode = event.mode;
		const place = this.#locate(event.epoch, step);
		table.append({ ...event, rate, ...place }, metrics);
		this.fit.last = place.x - this.fit.offset;
	}

	// Return where an event stands on the axes; without a step it is the end of its epoch.
	#locate(epoch, step) {
		const { id, origin, offset, pace, start } = this.fit;
		const share = step === null ? 1 : Math.min(1, step / (pace ?? step + 100)); // of an epoch of unknown length
		return { fit: id, epoch, x: offset + epoch + share, batch: start + (epoch - origin) * pace + (step ?? pace) };
	}

	#addLayers({ groups, epoch, step, time }) {
		if (!this.fit || !Array.isArray(groups)) return;
		const place = { ...this.#locate(epoch ?? 0, step ?? 0), time };
		const values = (field) => groups.map((group) => [String(group.name), readNumber(group[field]) ?? NaN]);
		this.gradients.append(place, values("gradient_norm"));
		this.updates.append(place, values("update_ratio"));
	}

	// A rule speaks again when things get worse: only that counts.
	#addFinding(event) {
		const fit = this.fit?.id;
		this.findings = this.findings.filter((each) => each.fit !== fit || each.rule !== event.rule);
		this.findings.push({ ...event, fit });
	}

	#addControl(event) {
		const { fit } = this;
		const { action, value } = event;
		this.controls.push({ ...event, ...(fit && this.#locate(event.epoch ?? fit.first, event.step ?? 0)) });
		if (event.refused || !fit) return;
		if (action === "learning_rate") this.rate = readNumber(value);
		if (action === "pause") this.#addPause(fit, value, event.time);
		if (action === "stop") fit.stopping = true;
		if (action === "patience") fit.patience = value;
	}

	#addPause(fit, paused, time) {
		if (fit.paused && !paused) [fit.resumed, fit.pauses] = [time, fit.pauses + time - fit.pausedAt];
		if (paused && !fit.paused) fit.pausedAt = time;
		fit.paused = paused;
	}
}

// Follows one run while visible, calls `changed` after every look; once only unless `again`.
export class Follower {
	constructor(path, snapshot, transport, changed, again = true) {
		Object.assign(this, { path, transport, changed, again, error: "", offset: 0, failures: 0, last: 0 });
		this.store = new RunStore();
		this.status = transport ? "" : null; // as of the server
		for (const event of snapshot ?? []) this.store.add(event);
		this.growing = snapshot?.length ? new RunStore() : this.store; // takes the snapshot's place when complete
	}

	setVisible(visible) {
		if (visible === this.visible) return;
		this.visible = visible;
		this.hurry();
	}

	hurry() {
		if (!this.busy) this.#wait(Math.max(0, this.last + SHORTEST_PAUSE - Date.now()));
	}

	dispose() {
		this.disposed = true;
		clearTimeout(this.timer);
	}

	#wait(milliseconds) {
		clearTimeout(this.timer);
		if (this.transport && this.visible && !this.disposed) this.timer = setTimeout(() => this.#look(), milliseconds);
	}

	async #look() {
		this.busy = true;
		this.last = Date.now();
		let pause;
		try {
			pause = this.#take(await this.transport.events(this.path, this.offset));
			[this.error, this.failures] = ["", 0];
		} catch (error) {
			this.failures += 1;
			this.error = `The log cannot be read: ${error.message} Trying again.`;
			pause = Math.min(LONGEST_PAUSE, PAUSES.running * 2 ** this.failures);
		}
		this.busy = false;
		if (this.disposed) return;
		this.changed();
		if (pause !== null) this.#wait(pause);
	}

	// Add what came and return how long to wait for more, null for ever.
	#take({ offset, size, lines, status }) {
		if (size < this.offset) [this.growing, this.offset] = [new RunStore(), 0]; // another log lies there now
		else if (offset > this.offset) {
			this.growing.addLines(lines);
			this.offset = offset;
			if (offset < size) return 0; // history comes in chunks, each in a task of its own
		}
		this.status = status;
		if (status !== "missing") this.store = this.growing; // else the snapshot is all there is
		return status === "running" || this.again ? (PAUSES[status] ?? PAUSES.ended) : null;
	}
}

// Call `look(visible)` when `element` comes into sight or leaves it; returns what ends that.
export function watchVisibility(element, look) {
	let near = false;
	const check = () => look(near && document.visibilityState === "visible");
	const sight = new IntersectionObserver((entries) => {
		near = entries.at(-1).isIntersecting;
		check();
	});
	sight.observe(element);
	document.addEventListener("visibilitychange", check);
	return () => {
		sight.disconnect();
		document.removeEventListener("visibilitychange", check);
	};
}
