"use strict";
/* The data panel: the metrics' table of images, by DataTables: sorted, filtered, its columns moved and hidden. */
const Rows = (() => {
  const { make } = Dom;
  let parts = null, table = null, shown = "", serial = 0, timer = 0, select = null;

  function show(into, picked) {
    select = picked;
    table = null;
    shown = "";
    parts = { place: make("div"), note: make("p", { class: "faint small", role: "status" }), run: make("span") };
    parts.filter = make("input", { type: "search", class: "expression", placeholder: "fp > 0 and ap < 0.3", "aria-label": "Filter the rows", value: State.get("rows") });
    parts.filter.addEventListener("input", () => { State.set({ rows: parts.filter.value || null }); filter(); });
    Dom.fill(into, make("h2", {}, "Images as a table"),
      make("div", { class: "controls" }, parts.run, make("label", {}, "Filter", parts.filter),
        make("span", { class: "faint small" }, "Click a row to see the image; drag a column's head to move it (by keys: Shift and an arrow).")), parts.note, parts.place);
  }

  /* The table of the chosen run at that step, once the sliders rest. */
  function update(look) {
    clearTimeout(timer);
    if (table) timer = setTimeout(() => bring(look), 120);
    else bring(look);
  }

  async function bring(look) {
    const mine = ++serial, runs = Runs.chosen();
    const run = runs.find(({ id }) => id === State.get("table")) ?? runs[0];
    const step = run ? Evaluations.keyOf(run, look.step) : "";
    const kept = run?.evaluations.some(({ key, figures }) => key === step && figures);
    const content = kept ? Order.perImage(await Evaluations.figures(run, step).catch(() => null)) : null;
    if (mine !== serial || !parts.place.isConnected) return;
    Dom.fill(parts.run, runs.length > 1 ? Controls.choice("Run", runs.map(({ id, label }) => [id, label]), run.id, (id) => {
      State.set({ table: id }); update(look); }).element : null);
    const name = content ? `${run.id} ${step}` : "";
    if (name !== shown || !name) {
      shown = name;
      await draw(content);
    }
    mark();
  }

  async function draw(content) {
    if (table && content && String(table.columnsNow) === String(content.columns)) {
      table.rowsNow = content.rows;
      table.clear().rows.add(content.rows.map((row) => [...row])).draw(false);  // sorted, filtered and arranged as before
      count();
      return;
    }
    table?.destroy();
    table = null;
    if (!content) {
      Dom.fill(parts.place, make("p", { class: "faint" }, "No metric has a table of images for this run at this epoch."));
      return;
    }
    const DataTable = await Report.library("tables");
    const element = make("table", { class: "display compact nowrap" }, make("thead", {}, make("tr", {}, content.columns.map((name) => make("th", {}, name)))));
    Dom.fill(parts.place, element);
    const text = DataTable.render.text().display;
    table = new DataTable(element, {
      data: content.rows.map((row) => [...row]), deferRender: true, pageLength: 10, lengthMenu: [10, 25, 100], colReorder: true, scrollX: true, order: [],
      layout: { topStart: null, topEnd: null, bottomStart: ["pageLength", "info"], bottomEnd: "paging", top2End: { buttons: [{ extend: "colvis", text: "Columns" }] } },
      columns: content.columns.map((_, i) => ({ className: isNumber(content, i) ? "number" : "", render: (value, kind) => (kind === "display" || kind === "filter" ? text(cell(value, content.columns[i])) : value) })),
      rowCallback: (row, data) => { row.tabIndex = 0; row.dataset.image = data[content.columns.indexOf("image_id")]; row.setAttribute("role", "row"); },
    });
    table.columnsNow = content.columns;
    table.rowsNow = content.rows;
    element.addEventListener("click", (event) => pick(event.target.closest("tbody tr")));
    element.addEventListener("keydown", (event) => { if (event.key === "Enter") pick(event.target.closest("tbody tr")); });
    parts.place.addEventListener("keydown", arrange);
    table.on("draw", mark);
    filter();
  }

  /* What a mouse does by dragging: Shift and an arrow on a column's head move the column. */
  function arrange(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key], head = event.target.closest("thead th");
    if (!by || !event.shiftKey || !head || !table) return;
    event.preventDefault();
    const from = Number(head.dataset.dtColumn), seen = table.columns(":visible").indexes().toArray(), to = seen[seen.indexOf(from) + by];
    if (to === undefined) return;
    table.colReorder.move(from, to);
    parts.place.querySelector(`.dt-scroll-head th[data-dt-column="${to}"] [tabindex]`)?.focus();
    parts.note.textContent = `The column ${table.column(to).title()} is number ${to + 1} now.`;
  }

  const isNumber = (content, i) => content.rows.every((row) => typeof row[i] !== "string");

  /* -1 is COCO's "does not apply" in columns that hold shares. */
  function cell(value, column) {
    if (typeof value !== "number") return value === null ? "–" : String(value);
    if (value === -1 && column !== "image_id") return "–";
    return Number.isInteger(value) ? String(value) : value.toFixed(3);
  }

  function pick(row) {
    if (row?.dataset.image !== undefined) select(Number(row.dataset.image));
  }

  function mark() {
    const id = State.get("image");
    for (const row of parts.place.querySelectorAll("tbody tr")) row.classList.toggle("picked", row.dataset.image === id);
  }

  /* --- the filter: comparisons joined by "and"; anything else is a part of the image's name --- */

  const COMPARISON = /^([^<>=!]+?)\s*(<=|>=|!=|=|<|>)\s*(.+)$/;
  const WAYS = { "<": (a, b) => a < b, ">": (a, b) => a > b, "<=": (a, b) => a <= b, ">=": (a, b) => a >= b, "=": (a, b) => a === b, "!=": (a, b) => a !== b };

  /* A function of a row, or a text that says what is wrong. */
  function parse(expression, columns) {
    const tests = [];
    for (const part of expression.split(/\s+and\s+|,/i).map((piece) => piece.trim()).filter(Boolean)) {
      const found = part.match(COMPARISON);
      if (!found) {
        const wanted = part.toLowerCase(), at = Math.max(0, columns.indexOf("image"));
        tests.push((row) => String(row[at]).toLowerCase().includes(wanted));
        continue;
      }
      const at = columns.findIndex((name) => name.toLowerCase() === found[1].trim().toLowerCase());
      if (at < 0) return `There is no column “${found[1].trim()}”; there are ${columns.join(", ")}.`;
      const way = WAYS[found[2]], number = Number(found[3]);
      const shares = columns[at] !== "image_id";
      tests.push(Number.isNaN(number) ? (row) => way(String(row[at]), found[3].trim())
        : (row) => typeof row[at] === "number" && !(shares && row[at] === -1) && way(row[at], number));
    }
    return (row) => tests.every((test) => test(row));
  }

  function filter() {
    if (!table) return;
    const test = parse(parts.filter.value, table.columnsNow);
    const wrong = typeof test === "string";
    parts.filter.setAttribute("aria-invalid", wrong);
    // By the rows as the record has them: DataTables' own move with the columns.
    table.search.fixed("expression", wrong ? null : (_text, _row, number) => test(table.rowsNow[number])).draw();
    parts.note.textContent = wrong ? test : "";
    if (!wrong) count();
  }

  function count() {
    if (parts.filter.value && parts.filter.getAttribute("aria-invalid") !== "true") {
      parts.note.textContent = Dom.count(table.rows({ search: "applied" }).count(), "row fits", "rows fit");
    }
  }

  return { mark, parse, show, update };
})();
