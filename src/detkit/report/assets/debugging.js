"use strict";
/* The third view: the image panel, and the table of images below it. */
const Debugging = (() => {
  function show(into) {
    const panel = Dom.make("div", { id: "images" }), rows = Dom.make("div", { id: "rows" });
    Dom.fill(into, panel, rows);
    Rows.show(rows, (id) => {
      Images.go(id);
      panel.scrollIntoView({ block: "start" });
    });
    return Images.show(panel, (look) => {
      Rows.mark();
      Rows.update(look);
    });
  }

  /* Open the view on some images, or on one. */
  function open(ids, why, more = {}) {
    State.show("debugging", { only: ids.length > 1 ? ids.map(String) : null, why: ids.length > 1 ? why : null, name: null, image: ids[0] ?? null, ...more });
    scrollTo({ top: 0 });
  }

  /* More epochs are there; the table keeps its page and order. True: nothing has to be drawn anew. */
  const refresh = () => Images.refresh();

  return { open, refresh, show };
})();
