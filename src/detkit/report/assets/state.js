"use strict";
/* What the reader has chosen, kept in the address, so that a view can be bookmarked and sent: `#debugging&step=3`. */
const State = (() => {
  const listeners = new Set();
  let view = "", values = new Map();

  function read() {
    const [first, ...rest] = location.hash.slice(1).split("&");
    view = safe(first);
    values = new Map(rest.map((pair) => {
      const at = pair.indexOf("=");
      return at < 0 ? [safe(pair), ""] : [safe(pair.slice(0, at)), safe(pair.slice(at + 1))];
    }));
  }

  function safe(text) {
    try {
      return decodeURIComponent(text);
    } catch {
      return "";
    }
  }

  /* Seldom: browsers refuse an address that changes with every step of a slider. */
  let timer = 0;
  function later() {
    clearTimeout(timer);
    timer = setTimeout(write, 120);
  }

  function write() {
    clearTimeout(timer);
    const pairs = [...values].map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`);
    history.replaceState(null, "", `#${[encodeURIComponent(view), ...pairs].join("&")}`);
  }

  const get = (key, otherwise = "") => values.get(key) ?? otherwise;
  const flag = (key, otherwise) => (values.has(key) ? values.get(key) === "1" : otherwise);

  function number(key, otherwise) {
    const value = values.has(key) && values.get(key) !== "" ? Number(values.get(key)) : NaN;
    return Number.isFinite(value) ? value : otherwise;
  }

  /* Several names in one value; null where nothing was chosen. */
  const list = (key) => (values.has(key) ? values.get(key).split("~").filter(Boolean) : null);

  /* Choose: {key: text, number, true, false, list, or null for the default}. */
  function set(changes) {
    for (const [key, value] of Object.entries(changes)) {
      if (value === null || value === undefined) values.delete(key);
      else if (Array.isArray(value)) values.set(key, value.join("~"));
      else values.set(key, value === true ? "1" : value === false ? "0" : String(value));
    }
    later();
  }

  function show(name, changes = {}) {
    view = name;
    set(changes);
    write();
    for (const listener of listeners) listener();
  }

  const onShow = (listener) => listeners.add(listener);
  window.addEventListener("hashchange", () => {
    read();
    for (const listener of listeners) listener();
  });
  read();
  return { flag, get, list, number, onShow, set, show, get view() { return view; } };
})();
