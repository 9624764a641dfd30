// The panel of one run, or of several runs laid over one another.

import { formatValue, make, makeButton, makeVoice, setText } from "./dom.js";
import { RunHead, describeControl } from "./status.js";
import { Follower, watchVisibility } from "./store.js";
import { Chart } from "./chart.js";
import { buildCharts, colorOf } from "./curves.js";
import { Controls } from "./controls.js";

const BETWEEN_DRAWINGS = 100; // milliseconds
const TASK = 12; // milliseconds after which the other charts wait for the next frame
const SEVERITIES = { info: ["Note", ""], warning: ["Warning", "wb-warn"], error: ["Error", "wb-bad"] };

// Return a panel's outermost element; panel.css, which the page loads, gives it its look.
export function openPanel(element, label) {
	const attributes = { class: "wb-panel", role: "region", "aria-label": label, "data-lm-suppress-shortcuts": "true" };
	const root = make("section", attributes);
	element.append(root);
	return root;
}

// Show runs [{path, name}] in `element`; without a transport (in an exported page) only the snapshot {path: [events]}.
export function mountRuns(element, { runs, snapshot }, transport) {
	const panel = new RunsPanel(element, runs, snapshot ?? {}, transport);
	return { dispose: () => panel.dispose() };
}

class RunsPanel {
	constructor(element, runs, snapshot, transport) {
		Object.assign(this, { view: { by: "epoch", log: false, smooth: 0 }, charts: new Map(), words: [], cursor: null });
		this.several = runs.length > 1;
		this.runs = runs.map(({ path, name }, number) => {
			const color = colorOf(number);
			const head = new RunHead(name, make("strong", {}, name), this.several && color);
			const follower = new Follower(path, snapshot[path], transport, () => this.changed());
			return { name, color, head, follower };
		});
		this.root = openPanel(element, `Training of ${runs.map(({ name }) => name).join(", ")}`);
		this.#build(transport);
		this.endWatching = watchVisibility(this.root, (visible) => this.runs.forEach(({ follower }) => follower.setVisible(visible)));
		this.#show();
	}

	dispose() {
		for (const { follower } of this.runs) follower.dispose();
		for (const chart of this.charts.values()) chart.observer.disconnect();
		this.endWatching();
		clearTimeout(this.timer);
		cancelAnimationFrame(this.frame);
		this.root.remove();
	}

	changed() {
		this.timer ??= setTimeout(() => {
			this.timer = undefined;
			this.#show();
		}, BETWEEN_DRAWINGS);
	}

	#build(transport) {
		const { name, follower } = this.runs[0];
		this.grid = make("div.wb-grid");
		this.small = make("div", { class: "wb-grid wb-small" });
		this.live = makeVoice();
		this.findings = makeSection("Findings");
		this.actions = makeSection("Interventions");
		this.root.append(make("div", { class: this.several ? "wb-several" : "" }, ...this.runs.map(({ head }) => head.element)));
		if (transport) {
			this.controls = new Controls(this.several ? name : "", async (action, value) => {
				const request = await transport.control(follower.path, action, value);
				follower.hurry();
				return request;
			});
			this.root.append(this.controls.element);
		}
		this.root.append(this.findings, this.#makeView(), this.grid, this.small, this.actions, this.live);
	}

	#makeView() {
		this.axes = ["epoch", "step"].map((by) => makeButton(`By ${by}`, () => this.#set({ by }), { "data-by": by }));
		const check = (name, label) => {
			const box = make("input", { type: "checkbox", onchange: () => this.#set({ [name]: box.checked }) });
			return make("label", {}, box, label);
		};
		const smooth = make("input", { type: "range", min: 0, max: 0.98, step: 0.02, value: 0, oninput: () => this.#set({ smooth: Number(smooth.value) }) });
		const axis = make("span.wb-axis", { role: "group", "aria-label": "Horizontal axis" }, ...this.axes);
		const other = this.runs.length > 2 ? check("singles", "Single runs") : make("label", {}, "Smoothing", smooth);
		const key = make("span.wb-key", {}, make("i.wb-dotted"), "training", make("i"), "validation");
		return make("div.wb-view", {}, axis, check("log", "Log scale"), other, key);
	}

	#set(change) {
		Object.assign(this.view, change);
		if (change.by) this.#move(null);
		this.#draw();
	}

	#show() {
		const states = this.runs.map(({ head, follower }) => head.update(follower));
		this.controls?.update(this.runs[0].follower.store, states[0]);
		const news = this.#list(this.findings, "findings", makeFinding).concat(this.#list(this.actions, "controls", makeAction));
		states.forEach(({ word, note }, at) => {
			if (this.words[at] !== word) news.push(`${this.#nameRun(this.runs[at])}${word}. ${note}`);
		});
		if (news.length && this.words.length) setText(this.live, news.join(" ")); // to a screen reader each step would be too much
		this.words = states.map(({ word }) => word);
		this.#draw();
	}

	#nameRun({ name }) {
		return this.several ? `${name}: ` : "";
	}

	// Add what is new to a list and return its words; what stands there stays as it is, opened or not.
	#list(section, kind, build) {
		const list = section.lastChild;
		const known = (section.known ??= new Map());
		const items = this.runs.flatMap((run) => run.follower.store[kind].map((item) => [JSON.stringify([run.name, item]), item, run]));
		const fresh = items.filter(([key]) => !known.has(key));
		for (const [key, item, run] of fresh) known.set(key, build(item, this.#nameRun(run)));
		if (fresh.length || items.length !== list.childElementCount) list.replaceChildren(...items.map(([key]) => known.get(key)));
		section.hidden = !items.length;
		return fresh.map(([key]) => known.get(key).dataset.news);
	}

	#draw() {
		for (const button of this.axes) button.setAttribute("aria-pressed", button.dataset.by === this.view.by);
		const charts = buildCharts(this.runs.map(({ name, color, follower }) => ({ name, color, store: follower.store })), this.view);
		for (const { title, small } of charts) {
			const move = (x, spoken) => this.#move(x, spoken && title);
			if (!this.charts.has(title)) this.charts.set(title, new Chart(title, small ? 130 : 220, move));
		}
		const titles = charts.map(({ title }) => title).join("\n");
		if (titles !== this.titles) {
			const place = (grid, wanted) => grid.replaceChildren(...charts.filter(({ small }) => small === wanted).map(({ title }) => this.charts.get(title).element));
			place(this.grid, undefined);
			place(this.small, true);
		}
		this.titles = titles;
		cancelAnimationFrame(this.frame);
		this.#work(charts);
	}

	// Draw chart by chart, and let the page breathe in between.
	#work(charts) {
		this.frame = requestAnimationFrame(() => {
			const end = performance.now() + TASK;
			while (charts.length && performance.now() < end) {
				const { title, model } = charts.shift();
				this.charts.get(title).draw({ model });
			}
			if (charts.length) this.#work(charts);
		});
	}

	#move(x, spoken) {
		this.cursor = x;
		for (const chart of this.charts.values()) {
			chart.cursor = x;
			chart.drawCursor();
		}
		if (spoken && x !== null) setText(this.live, this.charts.get(spoken).describe(x));
	}
}

function makeSection(title) {
	return make("section", { hidden: "" }, make("h4", {}, title), make("ul"));
}

function makeFinding({ severity, message, advice, evidence, source, rule, epoch }, who) {
	const kind = Object.hasOwn(SEVERITIES, severity) ? severity : "info";
	const facts = Object.entries(evidence ?? {}).flatMap(([name, value]) => {
		const text = typeof value === "number" ? formatValue(value) : JSON.stringify(value);
		return [make("dt", {}, name.replaceAll("_", " ")), make("dd", {}, text)];
	});
	const place = `${rule}${Number.isFinite(epoch) ? `, epoch ${epoch + 1}` : ""}. ${source ?? ""}`;
	const details = make("details", {}, make("summary", {}, "Evidence"), make("dl", {}, ...facts), make("p", {}, place));
	const [[word, tone], text] = [SEVERITIES[kind], `${who}${message}`];
	const parts = [make("b", {}, word), make("p", {}, text), make("p", {}, advice ?? ""), details];
	return make("li", { class: `wb-finding ${tone}`, "data-news": `${word}: ${text}` }, ...parts);
}

function makeAction(control, who) {
	const clock = new Date(control.time * 1000).toTimeString().slice(0, 5);
	const words = `${who}${describeControl(control)}`;
	return make("li", { "data-news": words }, make("time", {}, clock), ` ${words}`);
}
