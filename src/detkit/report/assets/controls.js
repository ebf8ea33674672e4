"use strict";
/* Chips, sliders, switches, choices: each with a name that is read out, all worked by the keyboard. */
const Controls = (() => {
  const { make } = Dom;
  /* More chips than these scroll in a box of their own, and are found by name. */
  const MANY = 24;

  /*
   * Chips, of which any number is on. options: [{value, label, colour}]; changed gets the list of those that are on.
   * A click with Shift, or a double click, leaves one alone on.
   */
  function chips(label, options, chosen, changed) {
    const on = new Set(chosen);
    const buttons = options.map((option) => {
      const swatch = option.colour ? make("span", { class: "swatch" }) : null;
      if (swatch) swatch.style.background = option.colour;
      const button = make("button", { type: "button", class: "chip", "aria-pressed": on.has(option.value) },
        swatch, option.label);
      button.addEventListener("click", (event) => {
        if (event.shiftKey) { on.clear(); on.add(option.value); }
        else if (!on.delete(option.value)) on.add(option.value);
        show();
      });
      button.addEventListener("dblclick", () => { on.clear(); on.add(option.value); show(); });
      return button;
    });
    function show() {
      options.forEach((option, i) => buttons[i].setAttribute("aria-pressed", on.has(option.value)));
      changed(options.map(({ value }) => value).filter((value) => on.has(value)));
    }
    const name = make("span", { class: "faint" }, label), many = options.length > MANY;
    const find = many ? make("input", { type: "search", class: "find", placeholder: `find among ${options.length}`, "aria-label": `${label}: find by name`, on: { input: () => {
      const wanted = find.value.toLowerCase();
      options.forEach((option, i) => buttons[i].classList.toggle("hidden", !option.label.toLowerCase().includes(wanted)));
    } } }) : null;
    const all = options.length > 3
      ? make("button", { type: "button", class: "chip plain", on: { click: () => {
        const full = on.size === options.length;
        on.clear();
        if (!full) for (const { value } of options) on.add(value);
        show();
      } } }, "all / none") : null;
    return make("div", { class: "chips", role: "group", "aria-label": label }, name, ...(many ? [find, all, make("div", { class: "chips many" }, buttons)] : [buttons, all]));
  }

  /* A slider with its value beside it. */
  function slider(label, { min, max, step, value, format = String, hint = "", id = null }, changed) {
    const output = make("output", {}, format(value));
    const input = make("input", { type: "range", min, max, step, title: hint || null, id,
      "aria-valuetext": format(value) });
    input.value = value;
    input.addEventListener("input", () => {
      tell();
      changed(Number(input.value));
    });
    function tell() {
      output.textContent = format(Number(input.value));
      input.setAttribute("aria-valuetext", output.textContent);
    }
    const element = make("label", { class: "slider" }, make("span", {}, label), input, output);
    return { element, input, set(next) { input.value = next; tell(); } };
  }

  function toggle(label, on, changed, hint = "") {
    const input = make("input", { type: "checkbox", checked: on });
    input.addEventListener("change", () => changed(input.checked));
    return { element: make("label", { title: hint || null }, input, label), input };
  }

  /* options: [[value, label], ...] */
  function choice(label, options, value, changed) {
    const select = make("select", {}, options.map(([key, name]) => make("option", { value: key }, name)));
    select.value = value;
    if (select.selectedIndex < 0) select.selectedIndex = 0;
    select.addEventListener("change", () => changed(select.value));
    return { element: make("label", {}, label, select), select };
  }

  const button = (label, act, attributes = {}) =>
    make("button", { type: "button", ...attributes, on: { click: act } }, label);

  return { button, chips, choice, slider, toggle };
})();
