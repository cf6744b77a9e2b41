"use strict";
(() => {
  const root = document.documentElement;
  const store = {
    get() { try { return localStorage.getItem("headrace-theme"); } catch { return null; } },
    set(value) { try { localStorage.setItem("headrace-theme", value); } catch { /* a file without storage */ } },
  };

  // Light and dark: the system decides until the reader does.
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  const current = () => root.dataset.theme || (dark.matches ? "dark" : "light");
  const label = () => { button.textContent = current() === "dark" ? "☀ Light" : "☾ Dark"; };
  const kept = store.get();
  if (kept === "light" || kept === "dark") root.dataset.theme = kept;
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = current() === "dark" ? "light" : "dark";
    store.set(root.dataset.theme);
    label();
  });
  dark.addEventListener("change", label);
  label();

  // Tips: the <title> of a mark, shown at once and by touch. Without this script the browser shows it, later.
  const tip = document.getElementById("tip");
  const hide = () => { tip.hidden = true; };
  const show = (event) => {
    const mark = event.target.closest && event.target.closest("svg.drawing *");
    if (!mark) { hide(); return; }
    const title = mark.querySelector(":scope > title");
    if (title) { mark.dataset.tip = title.textContent; title.remove(); }
    if (!mark.dataset.tip) { hide(); return; }
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, event.clientX - box.width / 2), innerWidth - box.width - 8);
    const above = event.clientY - box.height - 14;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 8 ? above : event.clientY + 18}px`;
  };
  document.addEventListener("pointermove", show);
  document.addEventListener("pointerdown", show);
  document.addEventListener("scroll", hide, { passive: true, capture: true });

  // Cards: filter by words, sort by a figure.
  const cards = document.getElementById("cards");
  if (cards) {
    const filter = document.getElementById("filter");
    const sort = document.getElementById("sort");
    const shown = document.getElementById("shown");
    const none = document.getElementById("none");
    const all = [...cards.children];
    const words = new Map(all.map((card) => [card, card.dataset.words.toLowerCase()]));
    const apply = () => {
      const wanted = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const card of all) {
        card.hidden = !wanted.every((word) => words.get(card).includes(word));
        if (!card.hidden) count += 1;
      }
      shown.textContent = count === all.length ? `${count} columns` : `${count} of ${all.length} columns`;
      none.hidden = count > 0;
    };
    const figure = (card, key) => Number(card.dataset[key] || 0);
    const orders = {
      order: (a, b) => figure(a, "order") - figure(b, "order"),
      name: (a, b) => a.dataset.name.localeCompare(b.dataset.name),
      missing: (a, b) => figure(b, "missing") - figure(a, "missing"),
      importance: (a, b) => figure(b, "importance") - figure(a, "importance"),
      alerts: (a, b) => figure(b, "alerts") - figure(a, "alerts"),
    };
    filter.addEventListener("input", apply);
    sort.addEventListener("change", () => { cards.append(...[...all].sort(orders[sort.value])); });
    document.addEventListener("keydown", (event) => {
      const typing = /^(input|select|textarea)$/i.test(event.target.tagName);
      if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) { event.preventDefault(); filter.focus(); }
      if (event.key === "Escape" && event.target === filter) { filter.value = ""; apply(); }
    });
    // A link to a card that is filtered away shows it.
    addEventListener("hashchange", () => {
      const aim = document.getElementById(location.hash.slice(1));
      if (aim && aim.hidden) { filter.value = ""; apply(); aim.scrollIntoView(); }
    });
    apply();
  }

  // The section in view is marked in the bar.
  const links = new Map([...document.querySelectorAll("nav.sections a")].map((a) => [a.hash.slice(1), a]));
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        for (const link of links.values()) link.removeAttribute("aria-current");
        links.get(entry.target.id)?.setAttribute("aria-current", "true");
      }
    }
  }, { rootMargin: "-15% 0px -75% 0px" });
  for (const id of links.keys()) { const part = document.getElementById(id); if (part) watch.observe(part); }
})();
