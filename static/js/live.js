// Keeps a page as true as the server: told by a socket that something changed, it fetches itself and morphs its live parts.
import { Idiomorph } from "../idiomorph/idiomorph.esm.js";

const topic = document.body.dataset.live;
const notice = document.querySelector("[data-live-notice]");
const SLOW_MS = 10000;
let fetching = false;
let again = false;
let leaving = false;
let failures = 0;
let socket = null;

const listeners = [];

// What the socket says, for other modules.
export function onMessage(listener) {
  listeners.push(listener);
}

export function say(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

export async function refresh() {
  if (fetching) {
    again = true;
    return;
  }
  fetching = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, credentials: "same-origin" });
    if (answer.redirected && !answer.url.startsWith(location.origin + location.pathname)) {
      location.assign(answer.url);
      return;
    }
    if (answer.status === 404) {
      // Whoever has just taken it away is on the way to another page.
      if (!leaving) location.assign("/machines/");
      return;
    }
    if (answer.ok) morph(await answer.text());
  } catch {
    // The server is away; the notice says so, and the next try comes by itself.
  } finally {
    fetching = false;
    if (again) {
      again = false;
      refresh();
    }
  }
}

// A new notice changes the bell, on pages too that do not change by themselves otherwise.
async function ring() {
  try {
    const answer = await fetch("/notices/bell/", { credentials: "same-origin" });
    if (answer.ok && !answer.redirected) morph(await answer.text());
  } catch {
    // The next page has the right number.
  }
}

function morph(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  for (const part of document.querySelectorAll("[data-live-part]")) {
    // What a person is told stays until they go on.
    if (part.id === "messages") continue;
    const next = fresh.getElementById(part.id);
    if (!next) continue;
    Idiomorph.morph(part, next, {
      ignoreActiveValue: true,
      callbacks: {
        beforeNodeMorphed: (old, now) => {
          if (!(old instanceof Element)) return true;
          if (old.hasAttribute("data-live-keep")) return false;
          if (old.matches("select, input, textarea") && old.dataset.touched) return false;
          if (old.tagName === "DETAILS" && old.open) now.setAttribute("open", "");
          return true;
        },
      },
    });
  }
}

document.addEventListener("input", (event) => {
  event.target.dataset.touched = "yes";
});

// A link to a file begins like one to a page, and leads nowhere.
window.addEventListener("beforeunload", () => {
  leaving = true;
  setTimeout(() => {
    leaving = false;
  }, SLOW_MS);
});

function listen() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/live/`);
  socket.addEventListener("open", () => {
    socket.send(JSON.stringify({ watch: topic ? [topic, "notices"] : ["notices"] }));
  });
  socket.addEventListener("message", (event) => {
    const said = JSON.parse(event.data);
    for (const listener of listeners) listener(said);
    if (said.watching) {
      failures = 0;
      notice.hidden = true;
      if (topic) refresh(); // what changed while nobody listened
    }
    if (said.changed?.includes("notices")) ring();
    if (said.changed?.some((each) => each !== "notices")) refresh();
  });
  socket.addEventListener("close", (event) => {
    if (event.code === 4401) {
      location.reload();
      return;
    }
    failures += 1;
    notice.hidden = failures < 2;
    const wait = Math.min(500 * 2 ** failures, 15000) * (0.75 + Math.random() / 2);
    setTimeout(listen, wait);
  });
}

listen();
if (topic) {
  setInterval(() => {
    const away = !socket || socket.readyState !== WebSocket.OPEN;
    if (away && !document.hidden) refresh();
  }, SLOW_MS);
  // Figures change all the time and are told to nobody: a page that shows some asks for them while somebody looks.
  const every = Number(document.body.dataset.liveEvery ?? 0);
  if (every) {
    setInterval(() => {
      if (!document.hidden) refresh();
    }, every * 1000);
  }
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) refresh();
  });
}
