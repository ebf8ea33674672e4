"use strict";
/* Elements from plain values: what people named becomes text, never markup. One global, `Dom`. */
const Dom = (() => {
  /* An element: attributes by name (false leaves one out, true gives it no value), children that are elements or text. */
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== false && value !== undefined) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children);
    return element;
  }

  const byId = (id) => document.getElementById(id);

  /* Fill a table. Columns: [{title, number: whether aligned to the right}]; a cell is text or a number. */
  function fillTable(table, caption, columns, rows) {
    const cell = (tag, value, { number }, more) =>
      make(tag, { class: number ? "number" : false, ...more }, typeof value === "number" ? shown(value) : value);
    const head = make("tr", {}, ...columns.map((column) => cell("th", column.title, column, { scope: "col" })));
    const body = rows.map((row) =>
      make("tr", {}, ...row.map((value, place) =>
        place === 0 ? cell("th", value, columns[place], { scope: "row" }) : cell("td", value, columns[place]))));
    table.replaceChildren(make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, ...body));
  }

  /* A number for people: whole ones as they are, others with at most one place. */
  const shown = (value) => value.toLocaleString("en", { maximumFractionDigits: 1 });

  /* A button that is pressed or not. */
  function toggle(title, pressed, act, attributes = {}) {
    const button = make("button", { type: "button", "aria-pressed": String(pressed), ...attributes }, title);
    button.addEventListener("click", act);
    return button;
  }

  const press = (button, pressed) => button.setAttribute("aria-pressed", String(pressed));

  return { byId, fillTable, make, press, shown, toggle };
})();
