"use strict";
/* One model's view of an image: the picture, what is drawn over it, what is right and wrong, zoom and pointer. */
class Panel {
  /* zoom: {scale, x, y} shared by all views, the centre in shares of the image; moved is called when it changes. */
  constructor(title, swatch, zoom, moved) {
    const { make } = Dom;
    this.zoom = zoom;
    this.moved = moved;
    this.list = [];
    this.picked = null;
    this.image = make("img", { alt: "", draggable: "false" });
    this.canvas = make("canvas", { "aria-hidden": "true" });
    this.absent = make("p", { class: "absent faint" });
    this.tip = make("div", { class: "tip", role: "status" });
    this.stage = make("div", { class: "stage", tabindex: 0, role: "img" }, this.image, this.canvas, this.absent, this.tip);
    this.mark = make("span", { class: "swatch" });
    this.mark.style.background = swatch;
    this.note = make("span", { class: "counts" });
    this.lines = make("ul", {});
    this.summary = make("summary", {}, "objects");
    this.element = make("figure", { class: "view" },
      make("figcaption", {}, this.mark, make("strong", {}, title), " ", this.note), this.stage,
      make("details", { class: "small" }, this.summary, this.lines));
    this.title = title;
    this.image.addEventListener("error", () => this.#gone());
    this.#pointer();
  }

  /* Show objects on an image. source: {file, width, height, name}; note: a line of text or elements. */
  show(source, list, look, note) {
    this.source = source;
    this.list = list;
    this.look = look;
    if (source.file === null) this.image.removeAttribute("src");
    else if (this.image.getAttribute("src") !== source.file) this.image.src = source.file;
    this.image.alt = source.name;
    this.image.classList.toggle("hidden", source.file === null);
    this.image.classList.toggle("gray", look.gray);
    this.image.classList.toggle("pixels", !look.smooth);
    this.absent.textContent = source.file === null ? "The record keeps no copy of this image; its objects are drawn all the same." : "";
    Dom.fill(this.note, note);
    this.summary.textContent = Dom.count(list.length, "object");
    if (this.element.querySelector("details").open) this.#write();
    this.stage.setAttribute("aria-label", `${source.name}, ${this.title}: ${this.note.textContent}`);
    this.layer = null;
    this.fit();
  }

  /* The report lists a picture that is not beside it any more. */
  #gone() {
    this.image.classList.add("hidden");
    this.absent.textContent = "The picture is not in the report's folder any more; its objects are drawn all the same.";
  }

  #write() {
    Dom.fill(this.lines, [...this.list].reverse().map((object) => Dom.make("li", {}, Drawing.sentence(object))));
  }

  /* Lay everything out at the size that there is. */
  fit() {
    if (!this.source || !this.stage.isConnected) return;
    const { width, height } = this.source, across = this.stage.clientWidth;
    const down = Math.min((across * height) / width, Math.max(240, innerHeight * 0.66));
    this.stage.style.height = `${down}px`;
    this.stage.style.touchAction = this.zoom.scale > 1 ? "none" : "pan-y";  // a finger moves the image once it is enlarged
    const scale = Math.min(across / width, down / height) * this.zoom.scale;
    const middle = (part, size, room) => (size * scale <= room ? (room - size * scale) / 2
      : Math.min(0, Math.max(room - size * scale, room / 2 - part * size * scale)));
    this.view = { scale, x: middle(this.zoom.x, width, across), y: middle(this.zoom.y, height, down) };
    Object.assign(this.image.style, { width: `${width * scale}px`, height: `${height * scale}px`,
      transform: `translate(${this.view.x}px, ${this.view.y}px)` });
    const ratio = devicePixelRatio || 1;
    this.canvas.width = Math.round(across * ratio);
    this.canvas.height = Math.round(down * ratio);
    this.draw();
  }

  draw() {
    const ratio = devicePixelRatio || 1, context = this.canvas.getContext("2d");
    const view = { scale: this.view.scale * ratio, x: this.view.x * ratio, y: this.view.y * ratio };
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (this.look.masks) this.#masks(context, view);
    Drawing.draw(context, this.list, view, this.look, this.picked, ratio);
  }

  #masks(context, view) {
    const { width, height } = this.source;
    const masked = this.list.filter(({ counts, kind }) => counts && (kind !== "truth" || this.list.length < 2 || this.look.truth));
    if (!masked.length) return;
    if (!this.layer) {
      const shrunk = Math.min(1, 800 / Math.max(width, height));
      const coloured = masked.map((object) => ({ counts: object.counts, colour: Drawing.colour(object, this.look.by) }));
      this.layer = Masks.layer(coloured, [width, height], Math.max(1, Math.round(width * shrunk)), Math.max(1, Math.round(height * shrunk)), 0.42);
    }
    context.drawImage(this.layer, view.x, view.y, width * view.scale, height * view.scale);
  }

  #pointer() {
    let from = null, pinch = null;
    const fingers = new Map(), apart = () => { const [a, b] = [...fingers.values()]; return Math.hypot(a[0] - b[0], a[1] - b[1]); };
    const place = (event) => {
      const bounds = this.stage.getBoundingClientRect();
      return [event.clientX - bounds.left, event.clientY - bounds.top];
    };
    this.stage.addEventListener("pointerdown", (event) => {
      from = { at: place(event), x: this.zoom.x, y: this.zoom.y };
      if (event.pointerType === "touch") fingers.set(event.pointerId, place(event));
      pinch = fingers.size === 2 ? { apart: apart(), scale: this.zoom.scale } : null;
      if (this.zoom.scale > 1) this.stage.setPointerCapture(event.pointerId);
      this.#point(place(event));
    });
    this.stage.addEventListener("pointermove", (event) => {
      const [x, y] = place(event);
      if (fingers.has(event.pointerId)) fingers.set(event.pointerId, [x, y]);
      if (pinch) this.moved({ scale: (pinch.scale * apart()) / Math.max(pinch.apart, 1) });
      else if (from && this.zoom.scale > 1) {
        this.moved({ x: from.x - (x - from.at[0]) / (this.source.width * this.view.scale), y: from.y - (y - from.at[1]) / (this.source.height * this.view.scale) });
      } else this.#point([x, y]);
    });
    for (const end of ["pointerup", "pointercancel"]) this.stage.addEventListener(end, (event) => { from = pinch = null; fingers.delete(event.pointerId); });
    this.stage.addEventListener("pointerleave", () => this.#point(null));
    this.stage.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.#towards(place(event), this.zoom.scale * (event.deltaY < 0 ? 1.25 : 0.8));
    }, { passive: false });
    this.stage.addEventListener("dblclick", (event) => this.#towards(place(event), this.zoom.scale >= 6 ? 1 : this.zoom.scale * 2));
    this.element.querySelector("details").addEventListener("toggle", () => this.#write());
  }

  #towards([x, y], scale) {
    this.moved({ scale, x: (x - this.view.x) / (this.source.width * this.view.scale), y: (y - this.view.y) / (this.source.height * this.view.scale) });
  }

  /* What lies under the pointer stands out, with a line about it. */
  #point(at) {
    if (!this.view) return;
    const under = (list) => Objects.at(list, (at[0] - this.view.x) / this.view.scale, (at[1] - this.view.y) / this.view.scale);
    const picked = at ? under(this.list.filter(({ kind }) => kind !== "truth")) ?? under(this.list) ?? null : null;
    if (at && picked) Object.assign(this.tip.style, { left: `${Math.min(at[0] + 12, Math.max(0, this.stage.clientWidth - 230))}px`, top: `${at[1] + 14}px` });
    if (picked === this.picked) return;
    this.picked = picked;
    this.tip.textContent = picked ? Drawing.sentence(picked) : "";
    this.draw();
  }
}
