"use strict";
/* The images that pass the filters, each with its objects, before and after. One global, `Gallery`. */
const Gallery = (() => {
  const cards = new Map(); // of an element, what is in it
  let survey, epochs, watcher;

  const ORDER = ["train", "validation", "test", "unused", null];

  function start(content) {
    survey = content;
    epochs = survey.training?.epochs ?? [];
    survey.images.sort((one, other) => ORDER.indexOf(one.split) - ORDER.indexOf(other.split));
    watcher = new IntersectionObserver(seen, { rootMargin: "300px" });
    controls();
    State.listen(changed);
    window.addEventListener("resize", () => { for (const card of cards.values()) stale(card); });
    render();
  }

  // --- controls ------------------------------------------------------------------------------------------------------

  function controls() {
    const { byId } = Dom;
    byId("search").addEventListener("input", (event) => State.set({ search: event.target.value }));
    byId("line").addEventListener("input", (event) => State.set({ line: Number(event.target.value) }));
    for (const name of ["masks", "names"]) {
      for (const id of [name, `viewer-${name}`]) {
        const button = byId(id);
        button.addEventListener("click", () => State.set({ [name]: !State.values[name] }));
        State.listen(() => Dom.press(button, State.values[name]));
        Dom.press(button, State.values[name]);
      }
    }
    const pictures = survey.images.flatMap((image) => [image.before, ...image.after]);
    const masks = pictures.some(({ objects }) => objects.some(({ mask }) => mask));
    for (const id of ["masks", "viewer-masks"]) byId(id).classList.toggle("hidden", !masks);
    epochButtons(byId("epochs"));
    epochButtons(byId("viewer-epochs"));
    splitChips();
    classChips();
  }

  function epochButtons(where) {
    if (!survey.images.some((image) => image.after.length)) return;
    const choices = [...epochs.map((epoch, place) => [`epoch ${epoch}`, place]), ...(epochs.length > 1 ? [["all", "all"]] : [])];
    const buttons = choices.map(([title, value]) => {
      const button = Dom.toggle(title, value === State.values.epoch, () => State.set({ epoch: value }));
      State.listen(() => Dom.press(button, State.values.epoch === value));
      return button;
    });
    where.replaceChildren(...buttons);
  }

  function chip(set, member, title, count, colour) {
    const dot = colour ? [Dom.make("span", { class: "dot" })] : [];
    if (colour) dot[0].style.background = colour;
    const button = Dom.toggle("", false, () => State.flip(set, member), { class: "chip" });
    button.append(...dot, title, Dom.make("span", { class: "count" }, String(count)));
    State.listen(() => Dom.press(button, State.values[set].has(member)));
    return button;
  }

  function splitChips() {
    const counts = new Map();
    for (const { split } of survey.images) if (split) counts.set(split, (counts.get(split) ?? 0) + 1);
    const chips = ORDER.filter((split) => counts.has(split)).map((split) =>
      chip("splits", split, split, counts.get(split), `var(--split-${split})`));
    Dom.byId("split-chips").replaceChildren(...(chips.length > 1 ? chips : []));
  }

  function classChips() {
    const counts = new Map();
    for (const { before } of survey.images) {
      for (const label of new Set(before.objects.map((object) => object.label))) {
        counts.set(label, (counts.get(label) ?? 0) + 1);
      }
    }
    const chips = [...counts.keys()].sort((one, other) => one - other).map((label) =>
      chip("classes", label, survey.classes[label - 1] ?? `class ${label}`, counts.get(label),
        Objects.css(Objects.classColour(label))));
    Dom.byId("class-chips").replaceChildren(...chips);
  }

  // --- images --------------------------------------------------------------------------------------------------------

  /* Only what decides which pictures are there makes new cards; the rest draws into those that are there. */
  function changed(changes) {
    const others = Object.keys(changes).filter((name) => !["masks", "names", "line"].includes(name));
    if (others.length) render();
    else for (const found of cards.values()) stale(found);
  }

  /* Where the reader was before the viewer was opened, or where the viewer has gone. */
  function focus(image) {
    for (const [element, found] of cards) if (found.image === image) element.querySelector(".open").focus();
  }

  function render() {
    const shown = survey.images.filter(State.passes);
    watcher.disconnect();
    cards.clear();
    const elements = shown.map((image) => card(image, shown));
    Dom.byId("gallery").replaceChildren(...elements);
    elements.forEach((element) => watcher.observe(element));
    const all = survey.images.length;
    Dom.byId("found").textContent =
      shown.length === all ? `${all} images` : `${shown.length} of ${all} images`;
  }

  function card(image, shown) {
    const pictures = State.pictures(image, epochs);
    const canvases = pictures.map(({ picture, title }) =>
      Dom.make("canvas", { role: "img", "aria-label": [title, Pictures.summary(picture)].filter(Boolean).join(": ") }));
    const frames = canvases.map((canvas, place) => {
      const { title } = pictures[place];
      return Dom.make("span", { class: "frame" }, canvas, ...(title ? [Dom.make("span", { class: "tag" }, title)] : []));
    });
    const button = Dom.make("button", { type: "button", class: "open", "aria-label": `Enlarge ${image.name}` }, ...frames);
    button.style.setProperty("--columns", String(pictures.length));
    button.addEventListener("click", () => Viewer.open(image, shown));
    const split = image.split ? [Dom.make("span", { class: "split", "data-split": image.split }, image.split)] : [];
    const caption = Dom.make("figcaption", {}, ...split, Dom.make("span", { class: "name" }, image.name));
    const element = Dom.make("figure", { class: "shot", "data-pictures": String(pictures.length) }, button, caption);
    cards.set(element, { image, pictures, canvases, visible: false, drawn: false });
    return element;
  }

  function seen(entries) {
    for (const entry of entries) {
      const found = cards.get(entry.target);
      if (!found) continue;
      found.visible = entry.isIntersecting;
      if (found.visible && !found.drawn) drawCard(found);
    }
  }

  function stale(found) {
    found.drawn = false;
    if (found.visible) drawCard(found);
  }

  function drawCard(found) {
    found.drawn = true;
    found.canvases.forEach((canvas, place) => {
      const { width, height } = canvas.parentElement.getBoundingClientRect();
      Pictures.draw(canvas, found.pictures[place].picture, width, height);
    });
  }

  return { focus, start };
})();
