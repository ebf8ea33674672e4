"use strict";
/* The image panel: models side by side on the same image, epoch after epoch. */
const Images = (() => {
  const { make } = Dom;
  const ZOOM = [1, 12];
  /* So many models are shown side by side, unless all are asked for. */
  const MOST = 8;
  const zoom = { scale: 1, x: 0.5, y: 0.5 };
  let parts = null, panels = new Map(), places = [], serial = 0, drawn = 0, wanted = null;

  /* What is chosen now. */
  function look() {
    const labels = State.list("classes"), only = State.list("only");
    const steps = Evaluations.steps(shownRuns());
    const step = steps.some(({ key }) => key === State.get("step")) ? State.get("step") : steps.at(-1)?.key ?? "";
    const own = Runs.all()[0]?.matching ?? { iou: 0.5, confidence: 0.5 };
    return { steps, step, iou: State.number("iou", own.iou), confidence: State.number("confidence", own.confidence),
      labels: labels && new Set(labels.map(Number)), only: only && new Set(only.map(Number)), find: State.get("name"),
      order: State.get("order", "worst"), by: State.get("by", "verdict"), truth: State.flag("truth", true), masks: State.flag("masks", true),
      names: State.flag("names", true), gray: State.flag("gray", false), smooth: State.flag("smoothing", true) };
  }

  /* The folds of a model and seed share a place: of an image only one of them has anything to show. */
  const series = (run) => `${run.model} ${run.seed}`;
  const seriesOf = (runs) => [...new Set(runs.map(series))];

  /* Of the chosen runs those that are shown: of too many the best, as the leaderboard has them, in their own order. */
  function shownRuns() {
    const chosen = Runs.chosen();
    if (seriesOf(chosen).length <= MOST || State.flag("allviews", false)) return chosen;
    const board = Runs.experiment().standing.rows.flatMap(({ runs }) => runs), rank = ({ id }) => (board.includes(id) ? board.indexOf(id) : board.length);
    const best = new Set(seriesOf([...chosen].sort((a, b) => rank(a) - rank(b))).slice(0, MOST));
    return chosen.filter((run) => best.has(series(run)));
  }

  /* How many of the chosen ones are shown. */
  function crowd() {
    const chosen = seriesOf(Runs.chosen()).length, all = State.flag("allviews", false);
    Dom.fill(parts.crowd, chosen <= MOST ? null : make("p", {}, all ? `All ${chosen} runs that are chosen are shown. ` : `The best ${MOST} of the ${chosen} runs that are chosen are shown. `,
      Controls.button(all ? `Show ${MOST}` : "Show all", () => { State.set({ allviews: all ? null : true }); update({ stay: true }); })));
  }

  function show(into, changed) {
    wanted = changed;
    panels = new Map();
    parts = { views: make("div", { class: "views" }), title: make("output", { class: "imagename" }), only: make("div"), crowd: make("div"), legend: make("p", { class: "legend" }) };
    Dom.fill(into, controls(), parts.only, navigation(), parts.crowd, parts.views, parts.legend);
    new ResizeObserver(() => { for (const panel of panels.values()) panel.fit(); }).observe(parts.views);
    legend();
    return update();
  }

  function controls() {
    const now = look(), set = (key, otherwise) => (value) => { State.set({ [key]: value === otherwise ? null : value }); update(); };
    const number = Math.max(0, now.steps.findIndex(({ key }) => key === now.step));
    const labels = () => look().steps;
    parts.step = Controls.slider("Epoch", { min: 0, max: Math.max(0, now.steps.length - 1), step: 1, value: number, id: "step",
      format: (at) => labels()[at]?.label ?? "–" }, (at) => { State.set({ step: labels()[at]?.key ?? null }); update({ stay: true }); });
    parts.confidence = Controls.slider("Confidence", { min: 0, max: 1, step: 0.01, value: now.confidence, id: "confidence", format: (value) => `≥ ${value.toFixed(2)}` },
      (value) => { State.set({ confidence: value }); update({ stay: true }); });
    const iou = Controls.slider("IoU to match", { min: 0.1, max: 0.95, step: 0.05, value: now.iou, id: "iou", format: (value) => value.toFixed(2) },
      (value) => { State.set({ iou: value }); update({ stay: true }); });
    const toggles = [["truth", "Ground truth", true], ["masks", "Masks", true], ["names", "Names", true], ["gray", "Grayscale", false], ["smoothing", "Smooth pixels", true]];
    parts.toggles = new Map(toggles.map(([key, label, on]) => [key, Controls.toggle(label, State.flag(key, on), (value) => {
      State.set({ [key]: value === on ? null : value }); update({ stay: true }); })]));
    const by = Controls.choice("Colour", [["verdict", "right and wrong"], ["class", "by class"]], now.by, (value) => { set("by", "verdict")(value); legend(); });
    const classes = Evaluations.classes().map((name, i) => ({ value: String(i + 1), label: name, colour: Objects.css(Objects.classColour(i + 1)) }));
    const chosen = now.labels ? [...now.labels].map(String) : classes.map(({ value }) => value);
    return make("div", { class: "card imagecontrols" },
      make("div", { class: "controls" }, parts.step.element, parts.confidence.element, iou.element),
      make("div", { class: "controls" }, [...parts.toggles.values()].map(({ element }) => element), by.element),
      make("div", { class: "controls" }, Runs.chips(() => { panels = new Map(); fitSlider(look().steps, look().step); update({ stay: true }); })),
      classes.length > 1 ? make("div", { class: "controls" }, Controls.chips("Classes", classes, chosen, (list) => {
        State.set({ classes: list.length === classes.length ? null : list.length ? list : ["0"] }); update({ stay: true }); })) : null);
  }

  function navigation() {
    const find = make("input", { type: "search", placeholder: "find an image", "aria-label": "Find an image by its name", value: State.get("name") });
    find.addEventListener("input", () => { State.set({ name: find.value || null }); update(); });
    const order = Controls.choice("Order", Order.KINDS, look().order, (value) => { State.set({ order: value === "worst" ? null : value, image: null }); update(); });
    const step = (by) => Controls.button(by < 0 ? "‹" : "›", () => flip(by), { "aria-label": by < 0 ? "Previous image" : "Next image", class: "flip" });
    const near = (label, name, factor) => Controls.button(label, () => move(factor === null ? { scale: 1, x: 0.5, y: 0.5 } : { scale: zoom.scale * factor }), { "aria-label": name });
    return make("div", { class: "controls navigation" }, make("span", { class: "group" }, step(-1), step(1)), parts.title, order.element, Controls.button("↻", () => update(), { "aria-label": "Sort anew", title: "Sort anew, at these settings" }), find,
      make("span", { class: "group", role: "group", "aria-label": "Zoom" }, near("−", "Zoom out", 0.7), near("1:1", "Whole image", null), near("+", "Zoom in", 1.43)));
  }

  function legend() {
    const kinds = look().by === "class" ? [] : Object.values(Drawing.KINDS);
    Dom.fill(parts.legend, kinds.map(({ letters, title, colour, dash }) => {
      const line = make("span", { class: "line" });
      line.style.borderTopColor = Objects.css(colour);
      line.style.borderTopStyle = !dash.length ? "solid" : dash[0] > 3 ? "dashed" : "dotted";
      return make("span", {}, line, [letters, title].filter(Boolean).join(" "));
    }));
  }

  /* Show what is chosen. stay: on the same image, wherever it stands in the order then. */
  async function update({ stay = false } = {}) {
    const mine = ++serial, now = look(), runs = shownRuns();
    const evaluations = await Promise.all(runs.map((run) => Evaluations.get(run, Evaluations.keyOf(run, now.step)).catch(() => null)));
    const figures = now.order === "ap" ? await Promise.all(runs.map((run) => Evaluations.figures(run, Evaluations.keyOf(run, now.step)).catch(() => null))) : [];
    const masks = now.masks ? await loadMasks(evaluations) : null;
    if (mine !== serial || !parts.views.isConnected) return;
    const before = place();
    if (!stay || !places.length || before === null) places = Order.places(now.order, runs, evaluations, now, figures);
    const at = before !== null && places.includes(before) ? before : places[0] ?? null;
    if (at !== null && at !== before) State.set({ image: Evaluations.images().ids[at] });
    said(now, at);
    crowd();
    const masked = Report.peek("images")?.masks || evaluations.some((one) => one?.hasMasks);
    parts.toggles.get("masks").element.classList.toggle("hidden", !masked);
    draw(now, runs, evaluations, at, masks);
    drawn += 1;
    wanted?.(now);
    ahead(now, runs);
  }

  async function loadMasks(evaluations) {
    const own = Report.peek("images")?.masks ? Report.load("masks").catch(() => null) : null;
    await Promise.all(evaluations.filter(Boolean).map((one) => Evaluations.withMasks(one).catch(() => one)));
    return own;
  }

  /* The neighbouring epochs, so that the slider moves at once. */
  function ahead(now, runs) {
    const at = now.steps.findIndex(({ key }) => key === now.step);
    setTimeout(() => {
      for (const step of [now.steps[at - 1], now.steps[at + 1]]) if (step) for (const run of runs) Evaluations.get(run, step.key).catch(() => null);
    }, 150);
  }

  function place() {
    const images = Evaluations.images(), id = State.number("image", NaN);
    return images.place.has(id) ? images.place.get(id) : null;
  }

  function said(now, at) {
    const images = Evaluations.images(), number = places.indexOf(at) + 1;
    Dom.fill(parts.title, at === null ? "no image" : [make("strong", {}, images.names[at]),
      make("span", { class: "faint" }, ` ${number} of ${places.length} · ${images.sizes[at].join(" × ")} px · ${images.splits[at]}${Dom.known(images.folds[at]) ? ` of fold ${images.folds[at]}` : ""}`)]);
    Dom.fill(parts.only, now.only ? make("p", { class: "card" }, `Only ${State.get("why") || "some images"} (${now.only.size}). `,
      Controls.button("Show all images", () => { State.set({ only: null, why: null }); update(); })) : null);
  }

  /* Runs of other folds have not looked at the image, and have no view of it. */
  const looksAt = (run, now, at) => run.fold === null || at === null || Evaluations.covers(run, Evaluations.keyOf(run, now.step), at);

  function draw(now, runs, evaluations, at, masks) {
    const own = runs.some((run) => looksAt(run, now, at)) ? (run) => looksAt(run, now, at) : () => true;
    const shown = runs.length ? runs.map((run, i) => [run.id, run.label, Runs.colour(run), run, evaluations[i]]).filter(([, , , run]) => own(run)) : [["", "ground truth", "transparent", null, null]];
    for (const [id, label, colour] of shown) if (!panels.has(id)) panels.set(id, new Panel(label, colour, zoom, move));
    const wantedViews = at === null ? [] : shown.map(([id]) => panels.get(id).element);
    if (wantedViews.length !== parts.views.childElementCount || wantedViews.some((view, i) => view !== parts.views.children[i])) parts.views.replaceChildren(...wantedViews);
    if (at === null) { Dom.fill(parts.views, make("p", { class: "faint" }, Evaluations.images().ids.length ? "No image fits." : "The record has no images yet.")); return; }
    const images = Evaluations.images(), copy = images.copies[at];
    const source = { file: copy === null ? null : Pictures.source(copy), width: images.sizes[at][0], height: images.sizes[at][1], name: images.names[at] };
    for (const [id, , , run, evaluation] of shown) {
      const own = evaluation && Evaluations.covers(run, evaluation.key, at) ? evaluation : null;
      panels.get(id).show(source, Drawing.objects(own, at, now, masks), now, counts(run, own, now, at));
    }
  }

  function counts(run, evaluation, now, at) {
    if (!run) return "";
    if (!evaluation) {
      const key = Evaluations.keyOf(run, now.step), kept = run.evaluations.some((one) => one.key === key && one.predictions);
      return make("span", { class: "faint" }, kept ? "not among this run's images" : "no predictions of this epoch");
    }
    const found = evaluation.count(at, now.iou, now.confidence, now.labels);
    const other = evaluation.key === now.step ? null : make("span", { class: "faint" }, `${evaluation.key.replace("epoch-", "epoch ").replace(/ 0+/, " ")}, its latest`);
    return [other, ...[["right", found.right], ["wrong", found.wrong], ["missed", found.missed]].map(([kind, n]) =>
      make("span", { class: `count ${kind}`, title: `${n} ${Drawing.KINDS[kind].title}` }, `${n} ${Drawing.KINDS[kind].letters}`))];
  }

  function move(change) {
    Object.assign(zoom, change);
    zoom.scale = Math.min(ZOOM[1], Math.max(ZOOM[0], zoom.scale));
    const half = 0.5 / zoom.scale;  // the centre keeps half a view from the edges
    for (const axis of ["x", "y"]) zoom[axis] = Math.min(1 - half, Math.max(half, zoom[axis]));
    for (const panel of panels.values()) panel.fit();
  }

  /* A fifth of what is seen, by keys. */
  const pan = (right, down) => move({ x: zoom.x + (0.2 * right) / zoom.scale, y: zoom.y + (0.2 * down) / zoom.scale });

  /* The next image, or with -1 the one before. */
  function flip(by) {
    if (!places.length) return;
    const at = Math.max(0, places.indexOf(place()));
    go(Evaluations.images().ids[places[(at + by + places.length) % places.length]]);
  }

  /* The image of that id, whatever else is filtered. */
  function go(id) {
    State.set({ image: id });
    const there = places.includes(place());
    if (!there) State.set({ only: null, why: null, name: null });
    return update({ stay: there });
  }

  /* The next epoch, or with -1 the one before. */
  function advance(by) {
    const { steps, step } = look();
    const at = Math.min(steps.length - 1, Math.max(0, steps.findIndex(({ key }) => key === step) + by));
    if (!steps[at]) return;
    State.set({ step: steps[at].key });
    parts.step.set(at);
    update({ stay: true });
  }

  /* As many epochs as there are now; false where there is no panel yet to go on with. */
  function refresh() {
    const { steps, step } = look();
    if (!parts?.views.isConnected || !places.length || !steps.length) return false;
    fitSlider(steps, step);
    update({ stay: true });
    return true;
  }

  /* The runs that are shown decide which epochs there are. */
  function fitSlider(steps, step) {
    parts.step.input.max = Math.max(0, steps.length - 1);
    parts.step.set(Math.max(0, steps.findIndex(({ key }) => key === step)));
  }

  function toggle(key) {
    parts.toggles.get(key)?.input.click();
  }

  return { advance, flip, go, look, move, pan, refresh, show, toggle, update, zoom, get drawn() { return drawn; } };
})();
