"use strict";
/* Tabs, keys, help, and fresh data while runs go on. */
document.addEventListener("DOMContentLoaded", () => {
  const { make } = Dom;
  if (!Runs.experiment()) return;  // the page says itself that its folder is not beside it
  const VIEWS = { overview: ["Overview", Overview], metrics: ["Metrics", Metrics], debugging: ["Debugging", Debugging], errors: ["Errors", Errors], tradeoff: ["Trade-off", Tradeoff],
    ...(Runs.experiment().search ? { search: ["Search", Search] } : {}) };
  const REFRESH_MS = 10_000;
  const KEYS = [[`1 … ${Object.keys(VIEWS).length}`, "the views"], ["→ or n, ← or p", "next and previous image"], ["↑ or ], ↓ or [", "next and previous epoch"], ["g", "ground truth"], ["m", "masks"], ["l", "names"],
    ["b", "grayscale"], ["s", "smooth pixels"], ["+ − 0", "zoom in, out, whole image"], ["Shift + → ← ↑ ↓", "move the enlarged image"], ["double click, Ctrl + wheel, drag", "zoom in, zoom, move"], ["?", "this help"]];
  const content = document.getElementById("content"), dialog = document.getElementById("keys");
  const current = () => (Object.hasOwn(VIEWS, State.view) ? State.view : "overview");
  const tabs = Object.entries(VIEWS).map(([name, [title]]) => make("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "content", on: { click: (event) => open(name, event.detail > 0) } }, title));

  /* By the keyboard the focus stays on the tab; after a click the arrows are the view's. */
  function open(name, clicked = false) {
    State.show(name);
    (clicked ? content : document.getElementById(`tab-${name}`)).focus({ preventScroll: true });
  }

  async function draw() {
    const name = current();
    for (const tab of tabs) {
      const on = tab.id === `tab-${name}`;
      tab.setAttribute("aria-selected", on);
      tab.tabIndex = on ? 0 : -1;
      if (on) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    content.setAttribute("role", "tabpanel");
    content.setAttribute("aria-labelledby", `tab-${name}`);
    const again = content.dataset.view === name, open = again ? unfolded() : [];
    content.dataset.view = name;
    const view = make("div", { class: "viewpage" });
    content.style.minHeight = again ? `${content.offsetHeight}px` : "";  // the page must not jump while it is drawn anew
    content.replaceChildren(view);
    try {
      await VIEWS[name][1].show(view);
    } catch (error) {
      view.append(make("div", { class: "card failure", role: "alert" }, make("strong", {}, `The view ${VIEWS[name][0]} could not be drawn`), make("pre", {}, `${error?.message ?? error}`)));
      console.error(error);
    }
    for (const details of content.querySelectorAll("details")) details.open ||= open.includes(details.querySelector("summary").textContent);
    content.style.minHeight = "";
    Plots.tidy();
  }

  const unfolded = () => [...content.querySelectorAll("details[open] > summary")].map(({ textContent }) => textContent);

  function heading() {
    const experiment = Runs.experiment(), sizes = experiment.data;
    const running = experiment.runs.filter(({ state }) => state === "running").map(({ id }) => id);
    document.getElementById("subtitle").textContent = [Dom.count(new Set(experiment.runs.map(({ model }) => model)).size, "model"), Dom.count(experiment.runs.length, "run"),
      sizes.images ? Dom.count(sizes.images, "image") : "", running.length > 3 ? `${running.length} running` : running.length ? `${running.join(", ")} running` : ""].filter(Boolean).join(" · ");
    const left = experiment.left_out ? ` ${experiment.left_out}` : "";
    document.getElementById("footer").textContent = `Written by detkit ${experiment.versions.detkit ?? ""} on ${Dom.date(experiment.written)} from the record of the experiment. This page asks nothing of any network.${left}`;
  }

  function help() {
    Dom.fill(dialog, make("h2", {}, "Keys"), make("dl", { class: "keys" }, KEYS.flatMap(([key, what]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, what)])),
      make("p", { class: "faint" }, "The address keeps what you have chosen: it can be bookmarked. Shift and a click on a chip leaves it alone on."),
      make("form", { method: "dialog" }, make("button", {}, "Close")));
    dialog.showModal();
  }

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
    const target = event.target, name = target.tagName;
    if (name === "SELECT" || name === "TEXTAREA" || (name === "INPUT" && !["checkbox", "range"].includes(target.type))) return;
    const arrows = event.key.startsWith("Arrow");
    if ((arrows || ["Home", "End"].includes(event.key)) && target.getAttribute?.("role") === "tab") return turn(event);
    if (event.key === "?") return done(event, help);
    if (event.shiftKey && arrows && current() === "debugging" && name !== "INPUT" && !target.closest(".wide, #rows")) {
      return done(event, () => Images.pan(...{ ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key]));
    }
    const number = Number(event.key);
    if (number >= 1 && number <= tabs.length) return done(event, () => open(Object.keys(VIEWS)[number - 1]));
    if (current() !== "debugging" || (arrows && (name === "INPUT" || target.closest(".wide, #rows")))) return;
    const act = { ArrowRight: () => Images.flip(1), n: () => Images.flip(1), ArrowLeft: () => Images.flip(-1), p: () => Images.flip(-1),
      ArrowUp: () => Images.advance(1), "]": () => Images.advance(1), ArrowDown: () => Images.advance(-1), "[": () => Images.advance(-1),
      g: () => Images.toggle("truth"), m: () => Images.toggle("masks"), l: () => Images.toggle("names"), b: () => Images.toggle("gray"), s: () => Images.toggle("smoothing"),
      "+": () => Images.move({ scale: Images.zoom.scale * 1.43 }), "-": () => Images.move({ scale: Images.zoom.scale * 0.7 }), 0: () => Images.move({ scale: 1, x: 0.5, y: 0.5 }) }[event.key];
    if (act) done(event, act);
  }

  function done(event, act) {
    event.preventDefault();
    act();
  }

  function turn(event) {
    const at = tabs.findIndex((tab) => tab.id === `tab-${current()}`), by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const to = by ? (at + by + tabs.length) % tabs.length : { Home: 0, End: tabs.length - 1 }[event.key];
    if (to !== undefined) done(event, () => open(Object.keys(VIEWS)[to]));
  }

  /*
   * While the experiment goes on, what it has written meanwhile. A view is drawn anew, unless one of its controls has the
   * focus: then a button says that there is more.
   */
  async function refresh() {
    const before = Runs.experiment();
    if (Report.whole() || !before.live) return;
    const now = await Report.reload("experiment").catch(() => before);
    if (now.written === before.written) return;
    quiet = 0;
    if (!Evaluations.images().ids.length) { await Report.reload("images").catch(() => null); Evaluations.forget(); }
    heading();
    const same = String(now.runs.map(({ id }) => id)) === String(before.runs.map(({ id }) => id));
    if (same && VIEWS[current()][1].refresh?.()) return;
    const focused = document.activeElement;
    if (focused !== content && content.contains(focused)) { more.hidden = false; return; }
    latest();
  }

  function latest() {
    more.hidden = true;
    draw();
  }

  /* Every ten seconds; once a minute where nothing has come for an hour, as of an experiment whose computer is off. */
  let quiet = 0;
  function look() {
    if (document.hidden) return;
    quiet += 1;
    if (quiet <= 360 || quiet % 6 === 0) refresh();
  }

  const more = make("button", { type: "button", id: "more", hidden: true, on: { click: latest } }, "New figures are there: show them");
  document.getElementById("status").append(more);
  content.tabIndex = -1;
  // A mere link would be an address, and so the choice of another view.
  document.getElementById("skip").addEventListener("click", (event) => done(event, () => content.focus()));
  document.getElementById("tabs").append(...tabs);
  document.getElementById("help").addEventListener("click", help);
  document.addEventListener("keydown", key);
  State.onShow(draw);
  heading();
  draw();
  Report.refresh = refresh;
  setInterval(look, REFRESH_MS);
});
