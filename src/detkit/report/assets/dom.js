"use strict";
/* Elements and words. Whatever people named comes in as text, never as markup. */
const Dom = (() => {
  /* make("p", {class: "faint", on: {click}}, "text", element, ...); attributes that are null or false are left out. */
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null || value === undefined) continue;
      if (name.startsWith("aria-")) { element.setAttribute(name, String(value)); continue; }
      if (value === false) continue;
      if (name === "on") for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
      else if (name === "value" || name === "checked" || name === "disabled") element[name] = value;
      else element.setAttribute(name, value === true ? "" : String(value));
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return element;
  }

  const fill = (element, ...children) => element.replaceChildren(...children.flat().filter((child) => child !== null));

  /* A table: columns [{title, number, cell(row) -> text or element, sort(row)}]. */
  function table(columns, rows, { caption = "", label = caption, rowClass = null } = {}) {
    const kind = (column) => (column.number ? "number" : null);
    return make("div", { class: "wide", tabindex: 0, role: "region", "aria-label": label || "table" },
      make("table", { class: columns.some((column) => column.sort) ? "sortable" : null },
        caption ? make("caption", { class: "faint" }, caption) : null,
        make("thead", {}, make("tr", {}, columns.map((column) =>
          make("th", { scope: "col", class: kind(column), title: column.hint }, column.title)))),
        make("tbody", {}, rows.map((row) => make("tr", { class: rowClass ? rowClass(row) : null },
          columns.map((column) => make("td", { class: kind(column) }, column.cell(row) ?? "–")))))));
  }

  const known = (value) => typeof value === "number" && Number.isFinite(value);
  const fixed = (value, digits = 3) => (known(value) ? value.toFixed(digits) : "–");

  /* Three digits, as 12.1, 0.0034, 1,440. */
  function short(value) {
    if (!known(value)) return "–";
    if (value !== 0 && Math.abs(value) < 0.001) return value.toExponential(1);
    if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en-GB");
    return String(Number(value.toPrecision(3)));
  }

  function bytes(value) {
    if (!known(value)) return "–";
    const units = ["B", "kB", "MB", "GB", "TB"];
    const power = Math.min(units.length - 1, value > 0 ? Math.floor(Math.log10(value) / 3) : 0);
    return `${short(value / 1000 ** power)} ${units[power]}`;
  }

  function duration(seconds) {
    if (!known(seconds)) return "–";
    if (seconds < 60) return `${short(seconds)} s`;
    const minutes = Math.round(seconds / 60);
    return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  }

  /* A value of a spec. */
  function plain(value) {
    if (value === null || value === undefined) return "–";
    if (Array.isArray(value)) return value.length ? value.map(plain).join(", ") : "[]";
    return typeof value === "object" ? JSON.stringify(value) : String(value);
  }

  const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en-GB")} ${number === 1 ? one : many}`;
  const date = (seconds) => new Date(seconds * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });

  return { bytes, count, date, duration, fill, fixed, known, make, plain, short, table };
})();
