// Elements made of text only (names and metrics come from data), and numbers as words.

// Return an element, as `make("p.class", {title: "…"}, "text")`; attributes that begin with "on" are listeners.
export function make(kind, attributes = {}, ...children) {
	const [tag, name] = kind.split(".");
	const element = document.createElement(tag);
	if (name) element.className = name;
	for (const [key, value] of Object.entries(attributes)) {
		if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
		else element.setAttribute(key, value);
	}
	element.append(...children);
	return element;
}

export function makeButton(label, onclick, attributes) {
	return make("button", { type: "button", onclick, ...attributes }, label);
}

export function makeVoice() {
	return make("p.wb-hidden", { "aria-live": "polite" });
}

// Change a text only when it differs: a screen reader need not look again.
export function setText(element, text) {
	if (element.textContent !== text) element.textContent = text;
}

// Return `digits` significant digits, short in every magnitude.
export function formatValue(value, digits = 4) {
	if (!Number.isFinite(value)) return value === undefined ? "–" : String(value).replace("Infinity", "∞");
	const size = Math.abs(value);
	const rounded = Number(value.toPrecision(digits));
	return size && (size < 1e-4 || size >= 1e6) ? rounded.toExponential().replace("e+", "e") : String(rounded);
}

export function formatDuration(seconds) {
	if (!(seconds > 0)) return "–";
	const whole = Math.round(seconds);
	if (whole < 60) return `${whole || formatValue(seconds, 1)} s`;
	const clock = new Date(whole * 1000).toISOString().slice(14, 19);
	return whole < 3600 ? clock.replace(/^0/, "") : `${Math.floor(whole / 3600)}:${clock}`;
}
