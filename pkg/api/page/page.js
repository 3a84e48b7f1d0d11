"use strict";
// Keeps a page up to date: the sensor's stream of events says when there is something new, and
// beats every two seconds; the page then asks for itself and takes over what has changed. While
// there is no stream it asks every two seconds. What it shows was escaped where it was made;
// nothing here makes markup of text.
(() => {
  const every = 2000, patience = 3, silence = 6000, again = 5000;
  const sources = new WeakMap(); // of elements, as the sensor sent them
  const source = (e) => sources.get(e) ?? e.outerHTML;

  // Times as how long ago, where that is short.
  const ago = (time) => {
    const at = Date.parse(time.dateTime), s = Math.round((Date.now() - at) / 1000);
    const text = s < 5 ? "now" : s < 60 ? s + " s ago" : s < 3600 ? Math.floor(s / 60) + " min ago"
      : s < 86400 ? Math.floor(s / 3600) + " h ago" : new Date(at).toLocaleDateString();
    time.title ||= new Date(at).toLocaleString();
    if (time.textContent !== text) time.textContent = text;
  };
  const times = () => document.querySelectorAll("time[datetime]").forEach(ago);

  const remember = (root) => {
    for (const e of root.querySelectorAll("[data-live], [data-live] > [id]")) sources.set(e, e.outerHTML);
  };

  // put makes old what now is; children with ids are kept where they have not changed, with
  // the focus that is in them.
  const put = (old, now) => {
    const text = sources.get(now);
    if (source(old) === text) return;
    if (!now.firstElementChild?.id || !old.isConnected) {
      focused(old, () => old.replaceWith(now), now);
      return;
    }
    const kept = new Map([...old.children].map((c) => [c.id, c]));
    let place = old.firstElementChild;
    for (const next of [...now.children]) {
      let mine = kept.get(next.id);
      if (mine && source(mine) === source(next)) kept.delete(next.id);
      else {
        const gone = mine;
        mine = next;
        if (gone) {
          kept.delete(next.id);
          if (place === gone) place = gone.nextElementSibling;
          focused(gone, () => gone.replaceWith(mine), mine);
        }
      }
      if (mine === place) place = place.nextElementSibling;
      else old.insertBefore(mine, place);
    }
    for (const gone of kept.values()) gone.remove();
    sources.set(old, text);
  };

  // focused changes what may have the focus, and gives it to the same link or button afterwards.
  const mark = (e) => [e.getAttribute("href"), e.dataset.do, e.dataset.device].join(" ");
  const focused = (old, change, now) => {
    const at = old.contains(document.activeElement) ? mark(document.activeElement) : null;
    change();
    if (at) [...now.querySelectorAll("a, button")].find((e) => mark(e) === at)?.focus({ preventScroll: true });
  };

  let failures = 0, answered = new Date(), asking, stream, heard = 0, broken = 0;
  const stale = (text) => {
    const p = document.getElementById("stale");
    if (!p) return;
    p.hidden = !text;
    if (text) document.documentElement.dataset.feed = "lost";
    if (p.textContent !== text) p.textContent = text;
  };
  // look asks; one that waits for its answer is given up only for another question.
  const look = async (anew) => {
    if (asking && !anew) return;
    asking?.abort();
    const mine = asking = new AbortController();
    const limit = setTimeout(() => mine.abort(), 8000);
    try {
      const url = location.pathname + location.search.replace(/([?&])explain=1/, "$1");
      const answer = await fetch(url, { signal: mine.signal, cache: "no-store", redirect: "follow" });
      if (answer.redirected && new URL(answer.url).pathname === "/login") return location.reload();
      if (answer.status !== 200) throw new Error(answer.status + " " + answer.statusText);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (mine !== asking) return;
      remember(page);
      const live = [...document.querySelectorAll("[data-live]")], now = [...page.querySelectorAll("[data-live]")];
      if (live.map((e) => e.id).join() !== now.map((e) => e.id).join()) swap(page);
      else live.forEach((e, i) => put(e, document.adoptNode(now[i])));
      failures = 0;
      answered = new Date();
      stale("");
    } catch (error) {
      if (mine !== asking) return;
      if (++failures >= (broken ? 2 : patience)) stale("No answer from the sensor since " + answered.toLocaleTimeString() + ": what is shown is as it was then.");
    } finally {
      clearTimeout(limit);
      if (mine === asking) {
        asking = null;
        document.getElementById("main").ariaBusy = null;
      }
    }
    times();
  };
  // listen opens the stream. A tab that nobody sees has none: a sensor has few.
  const listen = () => {
    if (stream || document.hidden || Date.now() - broken < again) return;
    stream = new EventSource("/v1/events?beat");
    let soon;
    const news = () => {
      heard = Date.now();
      broken = 0;
      soon ||= setTimeout(() => { soon = 0; look(); }, 200);
    };
    stream.onopen = () => { heard = Date.now(); broken = 0; };
    stream.onmessage = news;
    stream.addEventListener("beat", news);
    stream.onerror = () => { lost(); look(); };
  };
  const hush = () => { stream?.close(); stream = null; heard = 0; };
  const lost = () => { hush(); broken = Date.now(); };
  const live = () => stream && Date.now() - heard < silence;

  // swap takes over a page of another make: the first device has come, or the last has gone.
  const swap = (page) => {
    const field = document.getElementById("q"), typed = field?.value, active = document.activeElement === field;
    document.getElementById("main").replaceWith(document.adoptNode(page.getElementById("main")));
    if (active && field) { field.value = typed; field.focus(); }
  };

  // Search while typing, without a page in the history for each letter.
  let typing;
  const search = (form) => {
    const query = new URLSearchParams(new FormData(form));
    if (!query.get("q")) query.delete("q");
    document.getElementById("main").ariaBusy = "true";
    history.replaceState(null, "", query.size ? "/?" + query : "/");
    look(true);
  };
  document.addEventListener("input", (e) => {
    if (e.target.id !== "q") return;
    clearTimeout(typing);
    typing = setTimeout(search, 250, e.target.form);
  });
  document.addEventListener("submit", (e) => {
    if (!e.target.matches(".search")) return;
    e.preventDefault();
    clearTimeout(typing);
    search(e.target);
  });
  document.addEventListener("click", (e) => {
    const busy = e.target.closest?.("[data-busy]");
    if (busy) { busy.textContent = busy.dataset.busy; busy.setAttribute("aria-busy", "true"); }
  });

  // What the reader says of a device goes to the sensor, and is answered once it is on the disk.
  const said = { label: "labelled", unlabel: "label taken back", forget: "forgotten", ignore: "ignored from now on", heed: "judged again, anew" };
  const say = async (device, what, label) => {
    const answer = await fetch("/v1/devices/" + encodeURIComponent(device) + "/" + (what === "unlabel" ? "label" : what), {
      method: "POST", headers: { "Content-Type": "application/json", "Iotsense-Page": "1" },
      body: JSON.stringify({ label: label ?? "", with: "" }), signal: AbortSignal.timeout(10000),
    });
    if (!answer.ok) throw new Error((await answer.text()).trim() || answer.statusText);
    const done = await answer.json();
    if (what === "forget" && document.getElementById("verdict")) return location.replace("/");
    tell(device + ": " + said[what] + (done.kept ? "" : ", until the sensor ends: it runs without --state"));
    look(true);
  };
  let telling;
  const tell = (text, bad) => {
    const p = document.getElementById("done");
    p.textContent = text;
    p.classList.toggle("bad", !!bad);
    p.hidden = false;
    clearTimeout(telling);
    telling = setTimeout(() => { p.hidden = true; }, bad ? 10000 : 4000);
  };
  const ask = (dialog, button) => {
    dialog.device = button.dataset.device;
    dialog.querySelector("[data-what]").textContent = button.dataset.called || dialog.device;
    dialog.querySelector("[role=alert]").hidden = true;
    const field = dialog.querySelector("input");
    if (field) {
      field.value = button.dataset.label;
      dialog.querySelector("[data-unlabel]").hidden = !button.dataset.label;
    }
    dialog.showModal();
    field?.select();
  };
  document.addEventListener("click", (e) => {
    const button = e.target.closest?.("[data-do]"), what = button?.dataset.do;
    if (what === "label") ask(document.getElementById("naming"), button);
    else if (what === "forget") ask(document.getElementById("sure"), button);
    else if (what) say(button.dataset.device, what).catch((error) => tell(error.message, true));
  });
  document.addEventListener("submit", async (e) => {
    const dialog = e.target.closest("dialog"), what = e.submitter?.value;
    if (!dialog || !what) return; // it closes
    e.preventDefault();
    e.submitter.disabled = true;
    try {
      await say(dialog.device, what, what === "label" ? dialog.querySelector("input").value.trim() : "");
      dialog.close();
    } catch (error) {
      const p = dialog.querySelector("[role=alert]");
      p.textContent = error.message;
      p.hidden = false;
    } finally {
      e.submitter.disabled = false;
    }
  });

  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || document.querySelector("dialog[open]")) return;
    const field = document.getElementById("q"), typing = e.target.matches?.("input");
    if (e.key === "Escape" && field) {
      if (field.value) { field.value = ""; search(field.form); }
      field.blur();
    } else if (typing) return;
    else if (e.key === "/" && field) { e.preventDefault(); field.focus(); field.select(); }
    else if (e.key === "u") location.href = "/";
    else if (e.key === "l") {
      const here = document.activeElement.closest("tr, .card") ?? document.getElementById("verdict");
      const button = here?.querySelector("[data-do=label]");
      if (button) { e.preventDefault(); button.click(); }
    }
    else if (e.key === "j" || e.key === "k") {
      const links = [...document.querySelectorAll("#rows th a")], at = links.indexOf(document.activeElement);
      links[Math.min(links.length - 1, Math.max(0, at + (e.key === "j" ? 1 : -1)))]?.focus();
    }
  });

  if (document.querySelector("[data-live]")) document.documentElement.dataset.feed = "asks";
  remember(document);
  times();
  setInterval(times, 1000);
  if (document.querySelector("[data-live]")) {
    listen();
    setInterval(() => {
      document.documentElement.dataset.feed = live() ? "live" : failures >= patience ? "lost" : "asks";
      if (document.hidden || live()) return;
      if (heard) lost(); // it is silent
      look();
      listen();
    }, every);
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) return hush();
      look();
      listen();
    });
  }
})();
