"use strict";
/* What objects are taken for: a table whose cells open their images. */
const Confusion = (() => {
  const { make } = Dom;

  /* So many classes are shown at first, those with the most mistakes; and of more than so many never all. */
  const FIRST = 30, MOST = 250;

  /* matrix: {labels, counts, images}, "nothing" last; open(ids, why) is called by a cell. */
  function show(matrix, open) {
    const place = make("div"), classes = matrix.labels.length - 1;
    const some = classes > FIRST ? worst(matrix, FIRST) : null;
    const every = some && classes <= MOST ? Controls.toggle(`All ${classes} classes`, State.flag("allclasses", false), (on) => { State.set({ allclasses: on || null }); draw(); }) : null;
    const share = Controls.toggle("Shares of each row", State.flag("shares", false), (on) => { State.set({ shares: on || null }); draw(); });
    const hide = Controls.toggle("Only mistakes", State.flag("mistakes", false), (on) => { State.set({ mistakes: on || null }); draw(); });
    function draw() {
      const kept = some && !(every && State.flag("allclasses", false)) ? some : matrix.labels.map((_, i) => i);
      Dom.fill(place, some && kept === some ? make("p", { class: "faint small" }, `The ${FIRST} classes with the most mistakes of ${classes}.`) : null,
        make("p", { class: "faint small" }, "Rows: what objects are. Columns: what they are taken for. The last row: found where there is nothing; the last column: missed."),
        table(matrix, kept, open, State.flag("shares", false), State.flag("mistakes", false)));
    }
    draw();
    return make("div", {}, make("div", { class: "controls" }, share.element, hide.element, every?.element), place);
  }

  /* The classes that are mistaken most, in their own order, and "nothing". */
  function worst({ labels, counts }, number) {
    const last = labels.length - 1, mistakes = new Array(last).fill(0);
    counts.forEach((row, i) => row.forEach((n, j) => {
      if (i === j) return;
      if (i < last) mistakes[i] += n;
      if (j < last) mistakes[j] += n;
    }));
    const kept = mistakes.map((_, i) => i).sort((a, b) => mistakes[b] - mistakes[a] || a - b).slice(0, number).sort((a, b) => a - b);
    return [...kept, last];
  }

  function table({ labels, counts, images }, kept, open, shares, mistakes) {
    const last = labels.length - 1;
    const hidden = (row, column) => mistakes && row === column;
    let most = 1;
    for (const i of kept) for (const j of kept) if (!hidden(i, j)) most = Math.max(most, counts[i][j]);
    const sums = new Map(kept.map((i) => [i, counts[i].reduce((a, b) => a + b, 0)]));
    const cell = (row, column) => {
      const number = counts[row][column], sum = sums.get(row);
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
      make("table", { class: `confusion${kept.length > 9 ? " dense" : ""}` },
        make("thead", {}, make("tr", {}, make("td", {}), kept.map((i) => make("th", { scope: "col", title: labels[i] }, make("span", {}, labels[i]))))),
        make("tbody", {}, kept.map((i) => make("tr", {}, make("th", { scope: "row", title: labels[i] }, labels[i]), kept.map((j) => cell(i, j)))))));
  }

  return { show };
})();
