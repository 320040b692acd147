// Mounts the interactive figures of a built page. Each <div data-figure="name" data-state="{…}"> gets the figure's
// own module (a classic script, so that pages also work from file://) and a model with the anywidget contract.
(() => {
  const base = document.currentScript.src.replace(/loader\.js.*$/, "");
  const loading = {};

  class StaticModel {
    constructor(id, state) {
      this.id = id;
      this.initial = structuredClone(state);
      this.state = state;
      this.listeners = new Map();
      this.changed = new Set();
    }
    get(key) { return this.state[key]; }
    set(key, value) {
      this.state[key] = value;
      this.changed.add(key);
    }
    on(event, listener) { this.listeners.set(event, [...(this.listeners.get(event) ?? []), listener]); }
    off(event, listener) { this.listeners.set(event, (this.listeners.get(event) ?? []).filter((other) => other !== listener)); }
    save_changes() {
      const called = new Set([...this.changed].flatMap((key) => this.listeners.get(`change:${key}`) ?? []));
      this.changed.clear();
      called.forEach((listener) => listener());
    }
    link() {
      const differs = Object.keys(this.state).filter((key) => JSON.stringify(this.state[key]) !== JSON.stringify(this.initial[key]));
      const state = JSON.stringify(Object.fromEntries(differs.map((key) => [key, this.state[key]])));
      return `${location.href.split("#")[0]}#${this.id}=${encodeURIComponent(state)}`;
    }
    restore(hash) {
      if (!hash.startsWith(`#${this.id}=`)) return false;
      try {
        const saved = JSON.parse(decodeURIComponent(hash.slice(this.id.length + 2)));
        const kind = (value) => (Array.isArray(value) ? "list" : value === null ? "null" : typeof value);
        for (const key of Object.keys(saved)) if (key in this.initial && kind(saved[key]) === kind(this.initial[key])) this.set(key, saved[key]);
      } catch { return false; }
      return true;
    }
  }

  const load = (name) => (loading[name] ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    Object.assign(script, { src: `${base}figures/${name}.js`, onload: () => resolve(window.cnnbookFigures[name]), onerror: () => reject(new Error(`no figure ${name}`)) });
    document.head.append(script);
  }));

  async function mount(div, index) {
    const name = div.dataset.figure;
    div.id ||= `figure-${index + 1}-${name}`;
    const model = new StaticModel(div.id, JSON.parse(div.dataset.state));
    const figure = await load(name);
    const linked = model.restore(location.hash);
    figure.render({ model, el: div });
    div.dataset.mounted = "true";
    if (linked) div.scrollIntoView();
  }

  window.cnnbookFigures = {};
  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("[data-figure]").forEach(mount));
})();
