// What the page can do besides being read: sort, filter, search, save, enlarge, copy. Nothing here makes markup of text.
// A live page puts new sections in place, and tells of each by the event `placed`.
(() => {
  "use strict";
  const one = (what, from = document) => from.querySelector(what);
  const all = (what, from = document) => [...from.querySelectorAll(what)];
  const make = (name, text, act) => {
    const made = document.createElement(name);
    made.textContent = text;
    if (act) { made.type = "button"; made.addEventListener("click", act); }
    return made;
  };

  // Light or dark, against what the system says.
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const theme = make("button", "Light or dark", () => {
    const root = document.documentElement;
    const now = root.dataset.theme || (dark.matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
  });
  theme.className = "theme";
  one("header.top").append(theme);

  // Which page is shown; the focus follows, so that a screen reader reads on there.
  const show = () => {
    const name = location.hash.slice(1);
    const shown = document.getElementById(name) || one("#overview");
    const owner = name.startsWith("f-") ? "findings" : shown.id;
    for (const link of all("header nav a")) {
      if (link.hash === "#" + owner) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    return shown;
  };
  addEventListener("hashchange", () => {
    const title = one("h1", show());
    if (title) title.focus({ preventScroll: true });
    scrollTo(0, 0);
  });
  show();

  // Copying.
  const copy = async (text, button) => {
    let done = true;
    try { await navigator.clipboard.writeText(text); } catch { done = false; }
    button.textContent = done ? "Copied" : "Select and copy";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  };
  const copies = (block) => {
    const button = make("button", "Copy", () => copy(one("code", block).textContent, button));
    button.className = "copy";
    const frame = document.createElement("div");
    frame.className = "frame";
    block.replaceWith(frame);
    frame.append(block, button);
  };

  // Enlarging: the figure fills a dialog, and goes back to its place.
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-label", "Enlarged picture");
  document.body.append(dialog);
  let place = null;
  dialog.addEventListener("close", () => {
    if (!place) return;
    one(".enlarge", dialog).textContent = "Enlarge";
    place.after(dialog.firstChild);
    place.remove();
    place = null;
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  const enlarges = (figure) => {
    if (!one(".raster, .chart", figure)) return;
    const button = make("button", "Enlarge", () => {
      if (dialog.open) { dialog.close(); return; }
      place = document.createElement("span");
      button.textContent = "Close";
      // Colours of the severity come from the section that the figure leaves.
      dialog.className = (figure.closest("section").className.match(/s-\w+/) || [""])[0];
      figure.before(place);
      dialog.append(figure);
      dialog.showModal();
    });
    button.className = "enlarge";
    one("figcaption", figure).append(button);
  };

  // On paper, everything is open.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = all("details:not([open])");
    for (const details of closed) details.open = true;
  });
  addEventListener("afterprint", () => { for (const details of closed) details.open = false; });

  // The ranking. What was asked of it outlives its table, which a live page replaces.
  const STEP = 300;
  const CLASS = 8, HOST = 9;
  const LEVELS = ["critical", "high", "medium", "low", "info"];
  const kept = { search: "", off: [], kind: "", host: "", by: -1, down: false, limit: STEP };
  addEventListener("keydown", (event) => {
    const search = one("#search");
    const typing = event.target.closest && event.target.closest("input, select, textarea");
    if (event.key !== "/" || !search || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    location.hash = "#findings";
    search.focus();
  });
  const ranks = (table) => {
    const form = one("#controls");
    form.hidden = false;
    const body = table.tBodies[0];
    // Only so many rows are laid out at a time: ten thousand take seconds.
    const rest = one(".rest", table), further = one("#further");
    if (rest) {
      for (const row of rest.rows) row.hidden = true;
      body.append(...rest.rows);
      rest.remove();
      one("#unscripted").remove();
    }
    const cell = (row, index) => row.cells[index].textContent.trim();
    let rows = [...body.rows].map((row, rank) => ({ row, rank, severity: row.className.slice(2), text: null, fits: true }));
    const search = one("#search"), levels = all("[name=severity]"), kind = one("#class"), host = one("#host");
    const keep = () => {
      Object.assign(kept, { search: search.value, kind: kind ? kind.value : "", host: host ? host.value : "" });
      for (const { value, checked } of levels) kept.off = kept.off.filter((off) => off !== value).concat(checked ? [] : [value]);
    };
    const filter = () => {
      if (!table.isConnected) return;
      keep();
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const wanted = new Set(levels.filter((level) => level.checked).map((level) => level.value));
      let found = 0;
      for (const entry of rows) {
        const { row, severity } = entry;
        if (words.length) entry.text ??= row.textContent.toLowerCase();
        entry.fits = wanted.has(severity) && words.every((word) => entry.text.includes(word)) &&
          (!kind || !kind.value || cell(row, CLASS) === kind.value) && (!host || !host.value || cell(row, HOST) === host.value);
        found += entry.fits ? 1 : 0;
        const shown = entry.fits && found <= kept.limit;
        if (row.hidden === shown) row.hidden = !shown;
      }
      const of = rows.length.toLocaleString("en");
      one("#shown").textContent = found === rows.length ? of + " findings" : found.toLocaleString("en") + " of " + of;
      one("#none").hidden = found > 0;
      further.hidden = found <= kept.limit;
      further.textContent = "Show " + Math.min(STEP, found - kept.limit) + " more of " + (found - kept.limit).toLocaleString("en");
    };
    further.addEventListener("click", () => { kept.limit += STEP; filter(); });
    let waiting = 0;
    const soon = () => { keep(); clearTimeout(waiting); waiting = setTimeout(() => { kept.limit = STEP; filter(); }, 60); };
    form.addEventListener("input", soon);
    form.addEventListener("submit", (event) => event.preventDefault());
    one("[data-do=reset]").addEventListener("click", () => { form.reset(); filter(); search.focus(); });

    // Sorting: a column's own order first, the other way the next time; equal rows stay as they are ranked.
    const heads = [...table.tHead.rows[0].cells];
    const sort = (index) => {
      const now = heads[index].getAttribute("aria-sort");
      sorted(index, now ? now === "ascending" : heads[index].classList.contains("num"));
      kept.limit = STEP;
      filter();
    };
    const sorted = (index, down) => {
      [kept.by, kept.down] = [index, down];
      const head = heads[index], numeric = head.classList.contains("num");
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (entry) => {
        const own = entry.row.cells[index];
        if (index === 0) return LEVELS.indexOf(entry.severity);
        if (!numeric) return own.textContent.trim().toLowerCase();
        const figure = parseFloat(own.dataset.v ?? own.textContent);
        return Number.isNaN(figure) ? null : figure;
      };
      const keyed = rows.map((entry) => [value(entry), entry]);
      const order = down ? -1 : 1;
      keyed.sort(([a, first], [b, second]) => {
        // What is not known comes last either way.
        if (a === null || b === null) return (a === null) - (b === null) || first.rank - second.rank;
        return (a < b ? -order : a > b ? order : 0) || first.rank - second.rank;
      });
      rows = keyed.map(([, entry]) => entry);
      // Hidden first: what moves is not laid out on the way.
      for (const { row } of rows) row.hidden = true;
      body.append(...rows.map((entry) => entry.row));
    };
    heads.forEach((head, index) => {
      if (index === 5) return;
      const button = make("button", head.textContent, () => sort(index));
      head.replaceChildren(button);
    });

    // Saving what is shown. A cell that a spreadsheet would compute becomes text.
    const field = (text) => {
      const plain = text.replace(/\s+/g, " ").trim();
      const safe = /^[\s]*[=+\-@\uff1d\uff0b\uff0d\uff20]/.test(plain) ? "'" + plain : plain;
      return '"' + safe.replaceAll('"', '""') + '"';
    };
    one("[data-do=export]").addEventListener("click", () => {
      const columns = heads.map((_, index) => index).filter((index) => index !== 5);
      const lines = [columns.map((index) => field(heads[index].textContent)).join(",")];
      for (const { row, fits } of rows) {
        if (!fits) continue;
        lines.push(columns.map((index) => field(index === 0 ? row.className.slice(2) : row.cells[index].dataset.v ?? row.cells[index].textContent)).join(","));
      }
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([lines.join("\r\n") + "\r\n"], { type: "text/csv" }));
      link.download = "sonde-findings.csv";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
    search.value = kept.search;
    for (const level of levels) level.checked = !kept.off.includes(level.value);
    // A class or host that is gone is not asked for any more.
    for (const [choice, value] of [[kind, kept.kind], [host, kept.host]]) {
      if (choice && [...choice.options].some((option) => option.value === value)) choice.value = value;
    }
    if (kept.by >= 0) sorted(kept.by, kept.down);
    filter();
  };

  const dress = (root) => {
    all("pre.copy", root).forEach(copies);
    all("figure", root).forEach(enlarges);
    all("#ranking", root).forEach(ranks);
  };
  addEventListener("placed", (event) => { dress(event.target); show(); });
  dress(document);
})();
