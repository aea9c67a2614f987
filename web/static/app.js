// Keeps pages up to date: listens for "something changed", fetches the page's live part, patches it in.
// Build logs are appended line by line. Without this file every page still works.
"use strict";
(() => {
  const main = document.getElementById("main");
  const follow = document.getElementById("follow");
  if (!main || !main.dataset.version) return;
  const POLL_MS = 5000, REFRESH_MS = 15000, RETRY_MS = 30000, KEEP_LINES = 5000;
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
    const log = document.querySelector("#steps[data-stream]");
    const address = log ? `${log.dataset.stream}?after=${log.dataset.after}` : main.dataset.events;
    const own = new EventSource(address);
    source = own;
    own.onopen = () => say("live", "Live");
    own.onerror = () => {
      if (source !== own) return;
      if (own.readyState === EventSource.CLOSED) pollInstead();
      else say("lost", "No answer, trying again");
    };
    own.addEventListener("version", (event) => { if (event.data !== main.dataset.version) refresh(); });
    own.addEventListener("lines", (event) => append(log, JSON.parse(event.data)));
    own.addEventListener("end", () => {
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

  // The same shape as templates/log.html; text only ever becomes text.
  function append(log, lines) {
    const below = () => log.getBoundingClientRect().bottom - innerHeight + 24;
    const sawTheEnd = below() <= 80;
    for (const line of lines) {
      const list = step(log, line.step);
      const item = element("li", line.stream);
      item.id = `L${line.number}`;
      const time = element("time", "", new Date(line.at * 1000).toISOString().slice(11, 23));
      item.append(time);
      if (line.stream !== "stdout") item.append(element("span", "mark", line.stream === "stderr" ? "err" : "sys"));
      const text = element("span", "text");
      for (const [classes, piece] of line.spans) text.append(classes ? element("span", classes, piece) : piece);
      item.append(text);
      list.append(item);
      const count = list.parentElement.querySelector("summary .quiet");
      count.textContent = `${list.childElementCount} line${list.childElementCount === 1 ? "" : "s"}`;
      log.dataset.after = line.number;
    }
    const last = document.getElementById("last-shown");
    if (last) last.textContent = log.dataset.after;
    const shown = log.querySelectorAll(".lines > li");
    for (let extra = 0; extra < shown.length - KEEP_LINES; extra++) shown[extra].remove();
    if (sawTheEnd && below() > 0) scrollBy(0, below());
  }

  function step(log, name) {
    for (const details of log.children) if (details.dataset.step === name) return details.querySelector("ol");
    const details = element("details");
    details.open = true;
    details.dataset.step = name;
    const summary = element("summary");
    summary.append(element("bdi", "", name || "Output"), " ", element("span", "quiet"));
    const list = element("ol", "lines");
    details.append(summary, list);
    log.append(details);
    return list;
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
  addEventListener("pagehide", stop);
  addEventListener("pageshow", (event) => { if (event.persisted) listen(); });
  setInterval(ages, 1000);
  setInterval(() => { if (source && !document.hidden) refresh(); }, REFRESH_MS);
  listen();
})();
