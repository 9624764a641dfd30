// The buttons and fields that steer a training; what was asked is shown until the log confirms it.

import { formatValue, make, makeButton, setText } from "./dom.js";

const BUTTONS = [
	["stop", "now", "Stop now", "stop at the next step; the best weights are kept"],
	["stop", "epoch", "Stop after this epoch", "stop after this epoch"],
	["pause", true, "Pause", "pause"],
	["checkpoint", null, "Save a checkpoint", "save a checkpoint"],
	["measure_layers", null, "Measure layers", "measure gradients and updates of each group of layers"],
];
const ENDED = "There is no training under way.";

// The controls of one run, named where there are several. `send(action, value)` returns a promise of the request.
export class Controls {
	constructor(name, send) {
		Object.assign(this, { send, asked: new Map(), store: { controls: [] } });
		this.buttons = BUTTONS.map(([action, value, label, words]) => {
			const press = () => (button.textContent === "Resume" ? this.#ask(action, false, "resume") : this.#ask(action, value, words));
			const button = makeButton(label, press, { class: value === "now" ? "wb-bad" : "" });
			return [button, words];
		});
		const scales = [["÷2", 0.5, "Halve"], ["×2", 2, "Double"]].map(([text, factor, verb]) =>
			makeButton(text, () => this.#scale(factor), { "aria-label": `${verb} the learning rate in the field` }),
		);
		this.rate = this.#makeField("Learning rate", "learning_rate", ...scales);
		this.patience = this.#makeField("Patience", "patience");
		this.pending = make("p.wb-warn", { role: "status" });
		this.problem = make("p.wb-bad", { role: "alert" });
		const fields = make("div.wb-controls", {}, this.rate.form, this.patience.form);
		const parts = [make("label", {}, name), ...this.buttons.map(([button]) => button), fields, this.pending, this.problem];
		this.element = make("div.wb-controls", { role: "group", "aria-label": `Controls ${name}` }, ...parts);
	}

	// Show what can be asked of a run, and forget what its log confirms.
	update(store, { active, key }) {
		this.store = store;
		if (!active) this.asked.clear();
		this.element.hidden = !active && key !== "waiting" && key !== "interrupted";
		for (const [button, words] of this.buttons) {
			button.disabled = !active;
			button.title = active ? words : ENDED;
		}
		setText(this.buttons[2][0], key === "paused" ? "Resume" : "Pause");
		this.patience.form.hidden = (store.fit?.patience ?? null) === null;
		this.#showField(this.rate, active, formatValue(store.rate));
		this.#showField(this.patience, active, String(store.fit?.patience));
		this.#showAsked();
	}

	#makeField(label, action, ...scales) {
		const check = () => (apply.disabled = input.value === field.shown);
		const onkeydown = ({ key }) => key === "Enter" && !apply.disabled && apply.click(); // JupyterLab swallows its submit
		const input = make("input", { inputmode: "decimal", autocomplete: "off", name: action, oninput: check, onkeydown });
		const apply = make("button", {}, "Apply");
		const field = { input, apply, scales };
		const onsubmit = (event) => {
			event.preventDefault();
			field.shown = input.value;
			check();
			const value = Number(input.value.trim() || NaN);
			// The server checks it, and says in words what is wrong.
			this.#ask(action, Number.isNaN(value) ? input.value : value, `set the ${label.toLowerCase()} to ${input.value}`);
		};
		field.form = make("form", { onsubmit }, make("label", {}, label, input), ...scales, apply);
		return field;
	}

	// Show the present value unless somebody is writing another one.
	#showField(field, active, value) {
		const { form, input, scales, apply } = field;
		if (input.value === (field.shown ?? "")) input.value = value;
		field.shown = value;
		form.title = active ? "" : ENDED;
		for (const each of [input, ...scales]) each.disabled = !active;
		apply.disabled = !active || input.value === value;
	}

	#scale(factor) {
		const { input, apply } = this.rate;
		input.value = formatValue(input.value * factor);
		apply.disabled = false;
	}

	async #ask(action, value, words) {
		const mark = Symbol(action); // until the request has a number
		this.asked.set(mark, words);
		setText(this.problem, "");
		this.#showAsked();
		try {
			const { id } = await this.send(action, value);
			this.asked.set(id, words);
		} catch (error) {
			setText(this.problem, `Could not ask to ${words}: ${error.message}`);
		}
		this.asked.delete(mark);
		this.#showAsked();
	}

	#showAsked() {
		for (const { request } of this.store.controls) this.asked.delete(request);
		setText(this.pending, this.asked.size ? `Asked to ${[...this.asked.values()].join(", and to ")} …` : "");
	}
}
