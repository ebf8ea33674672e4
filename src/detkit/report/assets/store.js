"use strict";
/*
 * The data. Files beside the page call `Report.take`; in a page that is one file it lies in elements of the page. A page
 * that was opened from a disk may not fetch, but may add scripts.
 */
const Report = (() => {
  const values = new Map(), asked = new Map(), arrive = new Map();
  let serial = 0;

  /*
   * Characters that reorder the text around them have no place in a name ("\u202egpj.exe" reads "exe.jpg"): a mark stands
   * in their place. Letters of all scripts keep their own direction.
   */
  const parse = (json) => JSON.parse(json.replace(/[\u202a-\u202e\u2066-\u2069]/g, "\ufffd"));

  function take(name, json) {
    values.set(name, parse(json));
    arrive.get(name)?.();
  }

  function script(source) {
    return new Promise((done, failed) => {
      const element = document.createElement("script");
      element.src = source;
      element.addEventListener("load", () => { element.remove(); done(); });
      element.addEventListener("error", () => { element.remove(); failed(new Error(`${source} is not there`)); });
      document.head.append(element);
    });
  }

  /* What is known already; undefined where it is not. */
  function peek(name) {
    if (!values.has(name)) {
      const held = document.getElementById(`data/${name}`);
      if (held) values.set(name, parse(held.textContent));
    }
    return values.get(name);
  }

  /* A promise of the data of that name. */
  function load(name) {
    if (peek(name) !== undefined) return Promise.resolve(values.get(name));
    if (!asked.has(name)) {
      const path = name.split("/").map(encodeURIComponent).join("/");
      asked.set(name, script(`data/${path}.js`).then(() => values.get(name)));
      asked.get(name).catch(() => asked.delete(name));
    }
    return asked.get(name);
  }

  /* The data anew, past what the browser keeps. */
  async function reload(name) {
    await script(`data/${name}.js?${Date.now()}${serial++}`);
    return values.get(name);
  }

  const whole = () => document.getElementById("data/experiment") !== null;
  const forget = (name) => { values.delete(name); asked.delete(name); };

  /* Plotly or DataTable, loaded when first needed. */
  function library(name) {
    const [global, file] = { plots: ["Plotly", "lib/plotly.js"], tables: ["DataTable", "lib/tables.js"] }[name];
    if (window[global]) return Promise.resolve(window[global]);
    const held = document.getElementById(file);
    if (held) {  // in a page that is one file it lies there as text, for which the policy has the hash
      const element = document.createElement("script");
      element.textContent = held.textContent;
      document.head.append(element);
      return Promise.resolve(window[global]);
    }
    if (!asked.has(file)) asked.set(file, script(file).then(() => window[global]));
    return asked.get(file);
  }

  const KINDS = { f4: Float32Array, f8: Float64Array, i4: Int32Array, u2: Uint16Array, u1: Uint8Array };

  /* {type, base64} as a typed array. */
  function array(content) {
    const text = atob(content.base64);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return new KINDS[content.type](bytes.buffer);
  }

  return { array, forget, library, load, peek, reload, take, whole };
})();
