"use strict";
/* What objects are taken for: a table whose cells open their images. */
const Confusion = (() => {
  const { make } = Dom;

  /* matrix: {labels, counts, images}; open(ids, why) is called by a cell. */
  function show(matrix, open) {
    const place = make("div");
    const share = Controls.toggle("Shares of each row", State.flag("shares", false), (on) => { State.set({ shares: on || null }); draw(); });
    const hide = Controls.toggle("Only mistakes", State.flag("mistakes", false), (on) => { State.set({ mistakes: on || null }); draw(); });
    function draw() { Dom.fill(place, table(matrix, open, State.flag("shares", false), State.flag("mistakes", false))); }
    draw();
    return make("div", {}, make("div", { class: "controls" }, share.element, hide.element), place);
  }

  function table({ labels, counts, images }, open, shares, mistakes) {
    const last = labels.length - 1;
    const hidden = (row, column) => mistakes && row === column;
    const most = Math.max(1, ...counts.flatMap((row, i) => row.filter((_, j) => !hidden(i, j))));
    const cell = (row, column) => {
      const number = counts[row][column], sum = counts[row].reduce((a, b) => a + b, 0);
      const data = make("td", { class: "cell number" });
      if (!number || hidden(row, column)) { data.append(make("span", { class: "faint" }, row === last && column === last ? "" : hidden(row, column) ? "" : "0")); return data; }
      const weight = shares ? number / sum : number / most;
      data.style.setProperty("--weight", `${Math.round(8 + 72 * weight)}%`);
      data.classList.add(row === column ? "right" : "wrong");
      const why = row === last ? `“${labels[column]}” found where there is nothing` : column === last ? `“${labels[row]}” missed` : row === column ? `“${labels[row]}” found` : `“${labels[row]}” taken for “${labels[column]}”`;
      const ids = images[row]?.[column] ?? [];
      const label = `${why}: ${number}, in ${Dom.count(ids.length, "image")}`;
      const words = shares ? `${((100 * number) / sum).toFixed(0)} %` : String(number);
      data.append(ids.length ? Controls.button(words, () => open(ids, `images with ${why}`), { title: label, "aria-label": label }) : make("span", { title: label }, words));
      return data;
    };
    return make("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Confusion matrix" },
      make("table", { class: "confusion" },
        make("caption", { class: "faint" }, "Rows: what objects are. Columns: what they are taken for. The last row: found where there is nothing; the last column: missed."),
        make("thead", {}, make("tr", {}, make("th", {}), labels.map((name) => make("th", { scope: "col" }, make("span", {}, name))))),
        make("tbody", {}, counts.map((row, i) => make("tr", {}, make("th", { scope: "row" }, labels[i]), row.map((_, j) => cell(i, j)))))));
  }

  return { show };
})();
