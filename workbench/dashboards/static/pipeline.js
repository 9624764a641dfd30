// The panel of a pipeline: its steps and, below, the runs of the chosen ones.

import { formatValue, make, makeButton, makeVoice, setText } from "./dom.js";
import { RunHead } from "./status.js";
import { Follower, watchVisibility } from "./store.js";
import { mountRuns, openPanel } from "./panel.js";

const [ALIVE, RESTING] = [1000, 10000]; // milliseconds between looks

// Show a pipeline {path, name} in `element`; without a transport its saved `state`, with the `snapshot` of its runs.
export function mountPipeline(element, { pipeline, state, snapshot }, transport) {
	const panel = new PipelinePanel(element, pipeline, state, snapshot ?? {}, transport);
	return { dispose: () => panel.dispose() };
}

class PipelinePanel {
	constructor(element, { path, name }, state, snapshot, transport) {
		Object.assign(this, { path, snapshot, transport, rows: new Map(), overlays: new Map() });
		this.root = openPanel(element, `Pipeline ${name}`);
		this.title = make("strong", {}, name);
		this.head = new RunHead(name, this.title);
		this.head.showFacts({});
		this.list = make("div.wb-several");
		this.groups = make("div.wb-controls");
		this.below = make("div");
		this.live = makeVoice();
		this.root.append(this.head.element, this.list, this.groups, this.below, this.live);
		if (state) this.#show(state);
		this.endWatching = watchVisibility(this.root, (visible) => {
			this.visible = visible;
			for (const { follower } of this.rows.values()) follower?.setVisible(visible);
			clearTimeout(this.timer);
			if (visible && transport) this.#look();
		});
	}

	dispose() {
		this.visible = false;
		clearTimeout(this.timer);
		this.endWatching();
		this.shown?.dispose();
		for (const { follower } of this.rows.values()) follower?.dispose();
		this.root.remove();
	}

	async #look() {
		let pause = RESTING;
		try {
			const state = await this.transport.pipeline(this.path);
			if (!this.visible) return;
			this.#show(state);
			if (state.alive) pause = ALIVE;
		} catch (error) {
			setText(this.head.note, `The pipeline cannot be read: ${error?.message ?? error} Trying again.`);
		}
		clearTimeout(this.timer);
		if (this.visible) this.timer = setTimeout(() => this.#look(), pause);
	}

	#show({ title, steps, alive }) {
		this.alive = alive;
		setText(this.title, title);
		const word = alive ? "running" : steps.some(({ state }) => state === "failed") ? "failed" : "not running";
		this.head.show(word, word, "");
		for (const step of steps) this.#showStep(step);
		this.#offerOverlays(steps.filter(({ run }) => run));
	}

	#showStep(step) {
		const { label, state, run } = step;
		const row = this.rows.get(label) ?? this.#makeRow(label);
		if (row.step && row.step.state !== state) setText(this.live, `${label}: ${state}`);
		row.step = step;
		row.button.disabled = !run;
		row.button.title = run ? "Show its curves below" : "It has no run yet";
		if (run && row.follower?.path !== run) {
			row.follower?.dispose();
			row.follower = new Follower(run, this.snapshot[run], this.transport, () => this.#showRun(row), false);
			row.follower.setVisible(this.visible);
		} else if (state === "running") row.follower?.hurry();
		this.#showRun(row);
	}

	#makeRow(label) {
		const row = { button: makeButton(label, () => this.#choose([row.step], true)) };
		row.head = new RunHead(label, row.button);
		this.list.append(row.head.element);
		this.rows.set(label, row);
		return row;
	}

	#showRun({ head, follower, step: { state, reason, error } }) {
		const metrics = [...(follower?.store.metrics ?? [])].map(([name, value]) => `${name} ${formatValue(value)}`);
		const notes = [error, state === "done" ? "" : reason, metrics.join(", ")];
		head.show(state, state, notes.filter(Boolean).join(" · "));
		head.showFacts(follower?.store ?? {}, state);
		this.#follow();
	}

	// Show the step that trains now, in the end the last one, until somebody chooses.
	#follow() {
		const steps = [...this.rows.values()].filter(({ follower }) => follower?.store.fit).map(({ step }) => step);
		const newest = steps.find(({ state }) => state === "running") ?? (this.alive ? null : steps.at(-1));
		if (newest && !this.byHand && newest.label !== this.chosen) this.#choose([newest]);
	}

	// Offer the runs of a matrix, such as `train[seed=0]`, together.
	#offerOverlays(steps) {
		for (const name of new Set(steps.map(({ label }) => label.split("[")[0]))) {
			const members = steps.filter(({ label }) => label.startsWith(`${name}[`));
			if (members.length < 2) continue;
			const button = this.overlays.get(name) ?? makeButton("", () => this.#choose(button.members, true));
			this.overlays.set(name, button);
			button.members = members;
			setText(button, `Overlay the ${members.length} runs of ${name}`);
			if (!button.parentNode) this.groups.append(button);
		}
	}

	#choose(steps, byHand = false) {
		this.byHand ||= byHand;
		this.chosen = steps[0].label;
		this.shown?.dispose();
		const runs = steps.map(({ run, label }) => ({ path: run, name: label }));
		this.shown = mountRuns(this.below, { runs, snapshot: this.snapshot }, this.transport);
		const labels = steps.map(({ label }) => label);
		for (const [label, { button }] of this.rows) button.setAttribute("aria-pressed", labels.includes(label));
	}
}
