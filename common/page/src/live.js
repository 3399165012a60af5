// What makes the page live: it asks for the section that is shown, and puts it in place of its elder as a parsed document. The token
// comes in the address's fragment, which no server sees, and goes as a header, which no other page can set.
(() => {
  "use strict";
  const one = (what, from = document) => from.querySelector(what);
  const all = (what, from = document) => [...from.querySelectorAll(what)];
  const main = one("main.live"), pill = one("#live"), notice = one("#notice");
  const SECTION = /^(overview|findings|dns|feeds|known-good|sensor|f-[0-9a-f]{32})$/;
  const MAX_KEPT = 20;

  const tokenOf = (text) => (/(?:^|token=)([0-9a-f]{32})$/.exec(text.trim()) || [])[1] || "";
  let token = tokenOf(location.hash);
  if (token) {
    sessionStorage.setItem("token", token);
    // Out of the address, so that it is not copied, bookmarked or seen over a shoulder.
    history.replaceState(null, "", location.pathname + "#overview");
  } else token = sessionStorage.getItem("token") || "";

  const current = () => { const name = location.hash.slice(1); return SECTION.test(name) ? name : "overview"; };
  const tags = new Map();
  let paused = false, busy = false, again = false, lastAlerts = null;

  const tell = (state, text) => { pill.dataset.state = state; pill.textContent = text; };
  const show = () => {
    const name = token ? current() : "gate";
    for (const section of all(":scope > section", main)) section.classList.toggle("shown", section.id === name);
  };
  const gate = (why) => {
    token = "";
    sessionStorage.removeItem("token");
    if (why) one("#gate-why").textContent = why;
    tell("lost", "Closed");
    show();
    one("#token").focus();
  };
  one("#gate-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const given = tokenOf(one("#token").value);
    one("#token").value = "";
    if (!given) { one("#gate-why").textContent = "That is no token: it is 32 digits and letters from a to f."; return; }
    token = given;
    sessionStorage.setItem("token", token);
    begin();
  });

  const ask = (path, more = {}) => fetch(path, {
    ...more, headers: { ...more.headers, Authorization: "Bearer " + token },
    cache: "no-store", credentials: "omit", redirect: "error", referrerPolicy: "no-referrer",
  });

  // Nobody is disturbed who writes, selects or looks at an enlarged picture.
  const inUse = (section) => {
    if (one("dialog[open]")) return true;
    const selection = getSelection();
    if (selection && !selection.isCollapsed && section.contains(selection.anchorNode)) return true;
    return all("form.allow", section).some((form) => form.contains(document.activeElement) || all("input", form).some((input) => input.value));
  };

  // Where in a section an element is, to find its like in the next.
  const place = (element, section) => {
    const path = [];
    for (let at = element; at !== section; at = at.parentElement) path.unshift([...at.parentElement.children].indexOf(at));
    return path;
  };
  const at = (path, section) => path.reduce((from, index) => from && from.children[index], section);

  const put = (text, name) => {
    const parsed = new DOMParser().parseFromString(text, "text/html").body.firstElementChild;
    if (!parsed || parsed.id !== name) return;
    const fresh = document.adoptNode(parsed), old = document.getElementById(name);
    const before = old && { focus: null, scroll: all(".scroll", old).map((box) => [box.scrollLeft, box.scrollTop]), open: all("details", old).map((one) => one.open) };
    const active = document.activeElement;
    if (old && active && active !== old && old.contains(active)) {
      before.focus = { path: place(active, old), link: active.getAttribute("href"), id: active.id, name: active.localName, from: active.selectionStart, to: active.selectionEnd };
    }
    const first = !old || !old.dataset.placed;
    fresh.dataset.placed = "";
    if (old) old.replaceWith(fresh); else main.insertBefore(fresh, one("#gate"));
    for (const spare of all(":scope > section.finding", main).slice(0, -MAX_KEPT)) {
      if (spare.id !== name && spare.id !== current()) { tags.delete(spare.id); spare.remove(); }
    }
    show();
    fresh.dispatchEvent(new CustomEvent("placed", { bubbles: true }));
    if (first || !before) return;
    all("details", fresh).forEach((one, index) => { if (before.open[index]) one.open = true; });
    all(".scroll", fresh).forEach((box, index) => { [box.scrollLeft, box.scrollTop] = before.scroll[index] || [0, 0]; });
    const { focus } = before;
    if (!focus) return;
    const found = (focus.id && document.getElementById(focus.id)) ||
      (focus.link && all("a", fresh).find((link) => link.getAttribute("href") === focus.link)) || at(focus.path, fresh);
    if (!found || found.localName !== focus.name) return;
    found.focus({ preventScroll: true });
    if (typeof focus.from === "number" && found.setSelectionRange) found.setSelectionRange(focus.from, focus.to);
  };

  // Asks for what is shown, once at a time.
  const refresh = async () => {
    if (busy) { again = true; return; }
    busy = true;
    try {
      do {
        again = false;
        const name = current(), old = document.getElementById(name);
        const known = old && old.dataset.placed !== undefined;
        if (known && inUse(old)) { tell("held", "Held while in use"); continue; }
        const headers = known && tags.has(name) ? { "If-None-Match": tags.get(name) } : {};
        const answer = await ask("/section/" + name, { headers });
        if (answer.status === 401) { gate("The sensor does not know this token: it has begun anew, perhaps. Give the one that it printed last."); return; }
        if (answer.status === 404) { absent(name); continue; }
        if (answer.status === 200) {
          const text = await answer.text();
          const now = document.getElementById(name);
          // Somebody may have begun to write meanwhile.
          if (now && now.dataset.placed !== undefined && inUse(now)) { again = false; continue; }
          put(text, name);
          tags.set(name, answer.headers.get("ETag"));
        }
        if (answer.ok || answer.status === 304) tell(paused ? "paused" : "live", paused ? "Paused" : "Live");
        // Elsewhere meanwhile?
        if (current() !== name) again = true;
      } while (again);
    } catch { tell("lost", "Lost: trying again"); } finally { busy = false; }
  };
  const absent = (name) => {
    let section = document.getElementById(name);
    if (!section) {
      section = document.createElement("section");
      section.id = name;
      section.className = "finding";
      main.insertBefore(section, one("#gate"));
    }
    tags.delete(name);
    const title = document.createElement("h1"), text = document.createElement("p");
    title.tabIndex = -1;
    title.textContent = "No such finding";
    text.textContent = "It has ended and was forgotten, or it is not regular any more.";
    text.className = "lead";
    section.replaceChildren(title, text);
    show();
  };

  // What the sensor says when something changed.
  const heard = (data) => {
    const news = JSON.parse(data);
    one("#where").textContent = news.host;
    document.title = (news.alerts ? "(" + news.alerts + ") " : "") + "Sonde on " + news.host;
    for (const count of all("[data-count]")) {
      const value = news.counts[count.dataset.count];
      count.textContent = value === undefined ? "" : value;
    }
    one('[data-count="sensor"]').textContent = news.verdict === "ok" ? "" : news.verdict;
    if (lastAlerts !== null && news.alerts > lastAlerts) notice.textContent = "New alerts: " + (news.alerts - lastAlerts) + ". Now " + news.alerts + ".";
    lastAlerts = news.alerts;
    if (!paused) refresh();
  };
  let stop = null, wait = 1000;
  const listen = async () => {
    if (stop || !token || document.hidden) return;
    stop = new AbortController();
    const { signal } = stop;
    try {
      const answer = await ask("/events", { signal });
      if (answer.status === 401) { gate("The sensor does not know this token: it has begun anew, perhaps. Give the one that it printed last."); return; }
      if (answer.status === 429) { tell("lost", "Too many pages are open"); throw new Error("later"); }
      if (!answer.ok) throw new Error("later");
      wait = 1000;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        const parts = (rest + value).split("\n\n");
        rest = parts.pop();
        for (const part of parts) if (part.startsWith("data: ")) heard(part.slice(6));
      }
      throw new Error("it ended");
    } catch {
      if (!signal.aborted) {
        if (pill.textContent !== "Too many pages are open") tell("lost", "Lost: trying again");
        setTimeout(listen, wait);
        wait = Math.min(wait * 2, 15000);
      }
    } finally { stop = null; }
  };
  const hush = () => { if (stop) { stop.abort(); stop = null; } };
  // What nobody looks at costs nothing.
  document.addEventListener("visibilitychange", () => { if (document.hidden) hush(); else listen(); });

  pill.addEventListener("click", () => {
    if (!token) return;
    paused = !paused;
    pill.setAttribute("aria-pressed", String(paused));
    tell(paused ? "paused" : "live", paused ? "Paused" : "Live");
    if (!paused) refresh();
  });
  addEventListener("hashchange", async () => {
    show();
    await refresh();
    const title = one("h1", document.getElementById(current()) || main);
    if (title) title.focus({ preventScroll: true });
  });

  // Allowing and lifting.
  const change = async (path, body, say) => {
    let answer;
    try { answer = await ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }); } catch { say("The sensor does not answer.", true); return false; }
    const said = await answer.json().catch(() => ({}));
    if (!answer.ok) { say(said.error || "The sensor refused: " + answer.status + ".", true); return false; }
    return true;
  };
  main.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.dataset.allow) return;
    event.preventDefault();
    const note = one("[role=status]", form), button = one("button", form);
    const say = (text, bad) => { note.textContent = text; note.classList.toggle("bad", Boolean(bad)); };
    button.disabled = true;
    const days = Number(form.elements.days.value);
    const done = await change("/allow", { finding: form.dataset.allow, reason: form.elements.reason.value, days }, say);
    button.disabled = false;
    if (!done) return;
    form.reset();
    notice.textContent = "It is allowed. Its page and Known good offer to lift that.";
    document.activeElement.blur();
    refresh();
  });
  main.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-lift]");
    if (!button) return;
    button.disabled = true;
    const done = await change("/lift", { entry: button.dataset.lift }, (text) => { notice.textContent = text; button.textContent = text; });
    if (!done) return;
    notice.textContent = "The entry is lifted.";
    refresh();
  });

  const begin = () => { show(); refresh(); listen(); };
  if (token) begin(); else gate("");
})();
