"use strict";
/* Small tables that sort by a click on a column's head; DataTables serves the long ones. */
const Sorting = (() => {
  const { make } = Dom;
  /* How each table was sorted: a view that is drawn anew keeps it. */
  const kept = new Map();

  /*
   * columns: [{key, title, number, cell(row), sort(row) -> number or text, lower: true where less is better}].
   * The first click puts the better values on top.
   */
  function table(columns, rows, { caption, rowClass = null, by = null }) {
    const body = make("tbody");
    let [order, falling] = kept.get(caption) ?? [by, true];
    const heads = columns.map((column) => {
      const button = make("button", { type: "button", class: "head", title: column.hint || null }, column.title);
      button.addEventListener("click", () => {
        falling = order === column.key ? !falling : Boolean(column.number) && !column.lower;
        order = column.key;
        kept.set(caption, [order, falling]);
        show();
      });
      return make("th", { scope: "col", class: column.number ? "number" : null }, button);
    });
    function show() {
      const column = columns.find(({ key }) => key === order);
      const sorted = [...rows];
      if (column) sorted.sort((a, b) => compare(column.sort(a), column.sort(b), falling));
      columns.forEach(({ key }, i) =>
        heads[i].setAttribute("aria-sort", key !== order ? "none" : falling ? "descending" : "ascending"));
      Dom.fill(body, sorted.map((row) => make("tr", { class: rowClass ? rowClass(row) : null },
        columns.map((one) => make("td", { class: one.number ? "number" : null }, one.cell(row) ?? "–")))));
    }
    show();
    return make("div", { class: "wide", tabindex: 0, role: "region", "aria-label": caption },
      make("table", { class: "sortable" }, make("thead", {}, make("tr", {}, heads)), body));
  }

  /* What has no value stands last, either way. */
  function compare(a, b, falling) {
    const none = (value) => value === null || value === undefined || Number.isNaN(value);
    if (none(a) || none(b)) return none(a) - none(b);
    const way = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
    return falling ? -way : way;
  }

  return { compare, table };
})();
