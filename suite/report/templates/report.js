// The page works without this; with it, tables sort and the theme can be chosen.
(() => {
  "use strict";
  const root = document.documentElement;
  const THEMES = ["auto", "light", "dark"];

  const stored = () => {
    try { return localStorage.getItem("lowbit-theme"); } catch { return null; }
  };
  const store = (theme) => {
    try { localStorage.setItem("lowbit-theme", theme); } catch { /* a file may not store anything */ }
  };
  let theme = THEMES.includes(stored()) ? stored() : "auto";

  const paint = () => {
    if (theme === "auto") delete root.dataset.theme; else root.dataset.theme = theme;
    const word = document.querySelector("#theme .theme-word");
    if (word) word.textContent = `Theme: ${theme}`;
  };
  paint();

  const offerTheme = () => {
    const button = document.getElementById("theme");
    button.hidden = false;
    button.addEventListener("click", () => {
      theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
      store(theme);
      paint();
    });
    paint();
  };

  const keyOf = (row, column) => {
    const cell = row.cells[column];
    if (!cell) return null;
    const text = cell.dataset.sort ?? cell.textContent.trim();
    if (text === "" || (cell.classList.contains("number") && cell.dataset.sort === undefined)) return null;
    const number = Number(text);
    return Number.isNaN(number) ? text : number;
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  };

  const sort = (table, column, direction) => {
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
      rows.forEach((row, i) => { row.dataset.place ??= String(i); });
      const known = rows.map((row) => [keyOf(row, column), Number(row.dataset.place), row]);
      known.sort(([a, i], [b, j]) => {
        if (direction === "none") return i - j;
        if (a === null || b === null) return (a === null) - (b === null) || i - j;
        return (direction === "ascending" ? compare(a, b) : compare(b, a)) || i - j;
      });
      body.append(...known.map(([, , row]) => row));
    }
  };

  const NEXT = { none: "ascending", ascending: "descending", descending: "none" };
  const offerSorting = (table) => {
    const leaves = table.tHead.rows[table.tHead.rows.length - 1];
    const heads = [...leaves.cells];
    heads.forEach((head, column) => {
      if (head.tagName !== "TH") return;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const direction = NEXT[head.getAttribute("aria-sort")];
        heads.forEach((other) => other.tagName === "TH" && other.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", direction);
        sort(table, column, direction);
        const told = direction === "none" ? "in the table’s own order" : `sorted by ${button.textContent}, ${direction}`;
        document.getElementById("told").textContent = told;
      });
    });
  };

  // A target inside a closed part is opened, so that a link always leads somewhere.
  const openTarget = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    if (target) target.scrollIntoView();
  };

  const followSections = () => {
    const links = new Map([...document.querySelectorAll(".top nav a")].map((a) => [a.hash.slice(1), a]));
    const seen = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        links.forEach((a) => a.removeAttribute("aria-current"));
        links.get(entry.target.id)?.setAttribute("aria-current", "true");
      }
    }, { rootMargin: "-15% 0px -80% 0px" });
    links.forEach((_, id) => { const part = document.getElementById(id); if (part) seen.observe(part); });
  };

  document.addEventListener("DOMContentLoaded", () => {
    offerTheme();
    document.querySelectorAll("table[data-sortable]").forEach(offerSorting);
    followSections();
    if (location.hash) openTarget();
    addEventListener("hashchange", openTarget);
  });
})();
