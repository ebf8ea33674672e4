"use strict";
/* One image as large as the window, with keys for the next one. One global, `Viewer`. */
const Viewer = (() => {
  let images = [], epochs = [], at = 0, dialog;

  const current = () => images[at];

  function start(allEpochs) {
    epochs = allEpochs;
    dialog = Dom.byId("viewer");
    Dom.byId("viewer-close").addEventListener("click", () => dialog.close());
    Dom.byId("viewer-previous").addEventListener("click", () => go(-1));
    Dom.byId("viewer-next").addEventListener("click", () => go(1));
    dialog.addEventListener("keydown", pressed);
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    dialog.addEventListener("close", () => Gallery.focus(current()));
    State.listen(() => { if (dialog.open) show(); });
    window.addEventListener("resize", () => { if (dialog.open) show(); });
  }

  /* Open an image; `shown` are those that pass the filters, through which the keys go. */
  function open(image, shown) {
    images = shown;
    at = shown.indexOf(image);
    dialog.showModal();
    show();
  }

  function go(step) {
    at = (at + step + images.length) % images.length;
    show();
  }

  function pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { epoch, masks, names } = State.values;
    const turn = (step) => State.set({ epoch: ((epoch === "all" ? 0 : epoch + step) + epochs.length) % epochs.length });
    const actions = {
      ArrowLeft: () => go(-1),
      ArrowRight: () => go(1),
      ArrowUp: () => epochs.length && turn(-1),
      ArrowDown: () => epochs.length && turn(1),
      m: () => State.set({ masks: !masks }),
      n: () => State.set({ names: !names }),
    };
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  function show() {
    const image = current();
    Dom.byId("viewer-name").textContent = image.name;
    const { fullWidth, fullHeight } = image.before;
    Dom.byId("viewer-about").textContent = `${image.split ?? ""} ${fullWidth} × ${fullHeight}`.trim();
    Dom.byId("viewer-place").textContent = `${at + 1} of ${images.length}`;
    Dom.byId("viewer-epochs").classList.toggle("hidden", !image.after.length);
    Dom.byId("viewer-object").textContent = "";
    const pictures = State.pictures(image, epochs);
    const frame = Dom.byId("viewer-pictures");
    frame.dataset.count = pictures.length;
    const figures = pictures.map(({ picture, title }) => figure(picture, title));
    frame.replaceChildren(...figures.map((one) => one.element));
    for (const { canvas, picture } of figures) {
      const { width, height } = canvas.parentElement.getBoundingClientRect();
      Pictures.draw(canvas, picture, width, height);
    }
  }

  function figure(picture, title) {
    const label = [title, Pictures.summary(picture)].filter(Boolean).join(": ");
    const canvas = Dom.make("canvas", { role: "img", "aria-label": label });
    let marked;
    const mark = (object) => {
      if (object === marked) return;
      marked = object;
      const { width, height } = canvas.parentElement.getBoundingClientRect();
      Pictures.draw(canvas, picture, width, height, object);
      Dom.byId("viewer-object").textContent = object ? described(object) : "";
    };
    canvas.addEventListener("pointermove", (event) => mark(Pictures.under(canvas, picture, event)));
    canvas.addEventListener("pointerdown", (event) => mark(Pictures.under(canvas, picture, event)));
    canvas.addEventListener("pointerleave", () => mark(undefined));
    const size = `${picture.fullWidth} × ${picture.fullHeight}`;
    const caption = Dom.make("figcaption", {}, [title, size, Pictures.summary(picture)].filter(Boolean).join(" · "));
    return { element: Dom.make("figure", {}, Dom.make("div", { class: "frame" }, canvas), caption), canvas, picture };
  }

  const described = (object) =>
    `${object.name} · ${Dom.shown(object.size[0])} × ${Dom.shown(object.size[1])} pixels${object.mask ? ", with a mask" : ""}`;

  return { open, start };
})();
