// Keeps pages up to date: listens for "something changed", fetches the page's live part, patches it in.
// Build logs are appended line by line. Without this file every page still works.
"use strict";
(() => {
  const main = document.getElementById("main");
  const follow = document.getElementById("follow");
  if (!main || !main.dataset.version) return;
  const POLL_MS = 5000, REFRESH_MS = 15000, RETRY_MS = 30000, KEEP_LINES = 5000, DRAW_MS = 50;
  let skewMs = Date.now() - Number(main.dataset.at) * 1000;
  let source = null, poll = 0, fetching = false, again = false, retryAt = 0;

  function say(state, text) {
    if (follow.textContent !== text) follow.textContent = text;
    follow.className = state;
  }

  // Patch `old` into the shape of `fresh`, keeping focus, selection and what is folded.
  function patch(old, fresh) {
    if (old.isEqualNode(fresh)) return old;
    if (old.nodeType !== 1 || old.nodeName !== fresh.nodeName || old.id !== fresh.id) {
      const copy = document.importNode(fresh, true);
      old.replaceWith(copy);
      return copy;
    }
    for (const name of old.getAttributeNames())
      if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    for (const name of fresh.getAttributeNames())
      if (old.getAttribute(name) !== fresh.getAttribute(name)) old.setAttribute(name, fresh.getAttribute(name));
    const keyed = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
    let at = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      const same = wanted.id ? keyed.get(wanted.id) : at && !at.id ? at : null;
      if (same) {
        if (same !== at) old.insertBefore(same, at);
        at = patch(same, wanted).nextSibling;
      } else {
        const copy = document.importNode(wanted, true);
        if (copy.nodeName === "TBODY" || copy.nodeName === "LI") copy.classList.add("fresh");
        old.insertBefore(copy, at);
      }
    }
    while (at) { const next = at.nextSibling; at.remove(); at = next; }
    return old;
  }

  async function refresh() {
    if (fetching) { again = true; return; }
    fetching = true;
    try {
      const url = new URL(location.href);
      url.searchParams.set("part", "live");
      url.hash = "";
      const answer = await fetch(url, { cache: "no-store", headers: { Accept: "text/html" } });
      if (answer.status === 404) { location.reload(); return; }
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
      if (!fresh) throw new Error("no live part");
      for (const part of fresh.querySelectorAll("[data-live]")) {
        const old = document.getElementById(part.id);
        if (old) patch(old, part);
      }
      main.dataset.version = fresh.dataset.version;
      skewMs = Date.now() - Number(fresh.dataset.at) * 1000;
      if (fresh.dataset.title) document.title = fresh.dataset.title;
      if (source) say("live", "Live");
      else say("", "Asks every 5 s");
    } catch {
      say("lost", "No answer, trying again");
    } finally {
      fetching = false;
      if (again) { again = false; refresh(); }
    }
  }

  function pollInstead() {
    source = null;
    retryAt = Date.now() + RETRY_MS;
    say("", "Asks every 5 s");
    if (!poll) poll = setInterval(() => {
      if (document.hidden) return;
      if (Date.now() > retryAt) listen(); else refresh();
    }, POLL_MS);
  }

  function listen() {
    if (source || document.hidden) return;
    clearInterval(poll);
    poll = 0;
    const follows = log && log.dataset.stream;
    const address = follows ? `${follows}?after=${log.dataset.after}` : main.dataset.events;
    const own = new EventSource(address);
    source = own;
    own.onopen = () => say("live", "Live");
    own.onerror = () => {
      if (source !== own) return;
      if (own.readyState === EventSource.CLOSED) pollInstead();
      else say("lost", "No answer, trying again");
    };
    own.addEventListener("version", (event) => { if (event.data !== main.dataset.version) refresh(); });
    own.addEventListener("lines", (event) => take(JSON.parse(event.data)));
    own.addEventListener("steps", (event) => tell(JSON.parse(event.data)));
    own.addEventListener("end", () => {
      draw();
      log.removeAttribute("data-stream");
      own.close();
      source = null;
      refresh();
      listen();
    });
  }

  function stop() {
    if (source) source.close();
    source = null;
    clearInterval(poll);
    poll = 0;
  }

  // Lines wait here for a moment, so that a flood costs a bounded page each time, not one for each event.
  const log = document.getElementById("steps");
  const shown = log ? [...log.querySelectorAll(".lines > li")].sort((a, b) => a.id.slice(1) - b.id.slice(1)) : [];
  const below = () => log.getBoundingClientRect().bottom - innerHeight + 24;
  let waiting = [], drawing = 0;

  function take(lines) {
    waiting = waiting.concat(lines);
    if (waiting.length) log.dataset.after = waiting[waiting.length - 1].number;
    if (!drawing) drawing = setTimeout(draw, DRAW_MS);
  }

  function draw() {
    clearTimeout(drawing);
    drawing = 0;
    if (!waiting.length) return;
    const sawTheEnd = below() <= 80;
    const tooMany = waiting.length - KEEP_LINES;
    for (const line of waiting.slice(0, Math.max(tooMany, 0))) count(step(line.step), 1);
    for (const line of waiting.slice(Math.max(tooMany, 0))) append(line);
    waiting = [];
    const extra = shown.splice(0, Math.max(shown.length - KEEP_LINES, 0));
    for (const item of extra) item.remove();
    if (extra.length || tooMany > 0) document.getElementById("dropped").hidden = false;
    document.getElementById("last-shown").textContent = log.dataset.after;
    if (sawTheEnd && below() > 0) scrollBy(0, below());
  }

  // The same shape as templates/lines.html; text only ever becomes text.
  function append(line) {
    const item = element("li", line.stream);
    item.id = `L${line.number}`;
    const link = element("a", "n", line.number);
    link.href = `?line=${line.number}#L${line.number}`;
    link.setAttribute("aria-label", `Line ${line.number}`);
    item.append(link, element("time", "", new Date(line.at * 1000).toISOString().slice(11, 23)));
    if (line.stream !== "stdout") item.append(element("span", "mark", line.stream === "stderr" ? "err" : "sys"));
    const text = element("span", "text");
    for (const [classes, piece] of line.spans) text.append(classes ? element("span", classes, piece) : piece);
    item.append(text);
    const details = step(line.step);
    details.querySelector("ol").append(item);
    shown.push(item);
    count(details, 1);
  }

  function step(name) {
    for (const details of log.children) if (details.dataset.step === name) return details;
    const details = element("details");
    details.open = true;
    details.dataset.step = name;
    details.dataset.lines = 0;
    const summary = element("summary");
    const parts = [element("b", "outcome"), element("span", "took quiet"), element("span", "count quiet")];
    summary.append(element("bdi", "", name || "Output"), ...parts.flatMap((part) => [" ", part]));
    details.append(summary, element("ol", "lines"));
    log.append(details);
    return details;
  }

  function count(details, more) {
    const lines = Number(details.dataset.lines) + more;
    details.dataset.lines = lines;
    details.querySelector(".count").textContent = `${lines} line${lines === 1 ? "" : "s"}`;
  }

  // A step that ended well folds, one that failed opens; what a person folded or opened stays so.
  function tell(steps) {
    draw();
    const sawTheEnd = below() <= 80;
    for (const each of steps) {
      const details = step(each.name);
      const outcome = details.querySelector(".outcome"), took = details.querySelector(".took");
      outcome.className = `outcome ${each.outcome}`;
      outcome.textContent = { "": "running", done: "" }[each.outcome] ?? each.outcome;
      took.textContent = each.took;
      if (each.outcome === "") {
        const since = element("time", "", "");
        since.dateTime = each.since;
        since.dataset.age = "";
        took.replaceChildren(since);
      } else count(details, each.lines - Number(details.dataset.lines));
      if (each.outcome === "failed") details.open = true;
      else if (each.outcome && sawTheEnd && !details.dataset.touched) details.open = false;
    }
    ages();
    if (sawTheEnd && below() > 0) scrollBy(0, below());
  }

  log?.addEventListener("click", (event) => {
    const summary = event.target.closest("summary");
    if (summary) summary.parentElement.dataset.touched = "yes";
  });

  // A line that is not on this page: ask for the part around it.
  function seek() {
    const line = /^#L(\d{1,9})$/.exec(location.hash)?.[1];
    if (!log || !line) return;
    const item = document.getElementById(`L${line}`);
    if (item) item.closest("details").open = true;
    else if (new URLSearchParams(location.search).get("line") !== line) location.search = `?line=${line}`;
  }

  function element(name, classes, text) {
    const made = document.createElement(name);
    if (classes) made.className = classes;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function ages() {
    const now = Date.now() - skewMs;
    for (const time of document.querySelectorAll("time[data-age]")) {
      const seconds = Math.max(0, Math.floor((now - Date.parse(time.dateTime)) / 1000));
      const [size, unit] = seconds >= 86400 ? [86400, "d"] : seconds >= 3600 ? [3600, "h"] : seconds >= 60 ? [60, "m"] : [1, "s"];
      const text = `${Math.floor(seconds / size)}${unit}${time.dataset.age}`;
      if (time.textContent !== text) time.textContent = text;
    }
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) stop();
    else { refresh(); listen(); }
  });
  addEventListener("hashchange", seek);
  addEventListener("pagehide", stop);
  addEventListener("pageshow", (event) => { if (event.persisted) listen(); });
  setInterval(ages, 1000);
  setInterval(() => { if (source && !document.hidden) refresh(); }, REFRESH_MS);
  seek();
  listen();
})();
