// The machine's screen in the page: noVNC behind a ticket, connecting again by itself whenever the machine runs.
import RFB from "../novnc/core/rfb.js";
import { strokes } from "./keysyms.js";
import { refresh } from "./live.js";

const box = document.getElementById("console");
const words = box.dataset;
const screen = box.querySelector("[data-console-screen]");
const cover = box.querySelector("[data-console-cover]");
const status = box.querySelector("[data-console-status]");
const dialog = box.querySelector("[data-console-dialog]");
const token = box.querySelector("[name=csrfmiddlewaretoken]").value;
const buttons = Object.fromEntries([...box.querySelectorAll("[data-console]")].map((b) => [b.dataset.console, b]));
const STROKE_MS = 12;
const SIGN_IN = 4401;
const NO_MACHINE = 4404;
const RIGHTS_CHANGED = 4409;
const UNREACHABLE = 4503;

let rfb = null;
let failures = 0;
let timer = null;
let busy = false;
let fit = true;

const seen = () => document.getElementById("machine-state")?.dataset ?? {};
// Of the machine itself: it has a screen as well while it is asked to restart, or while its host is silent.
const runs = () => seen().hasScreen === "yes";
const mayType = () => seen().mayType === "yes";

function say(text, covered = true) {
  status.textContent = text;
  cover.hidden = !covered;
  box.dataset.connected = covered ? "no" : "yes";
  for (const button of Object.values(buttons)) button.disabled = covered && button !== buttons.scale;
}

function idle() {
  say(["off", "failed", "saved"].includes(seen().machineState) ? words.wordsOff : words.wordsWaiting);
}

function later(sentence) {
  failures += 1;
  const seconds = Math.min(2 ** (failures - 1), 20);
  say(sentence.replace("%s", seconds));
  clearTimeout(timer);
  timer = setTimeout(connect, seconds * 1000);
}

async function connect() {
  clearTimeout(timer);
  if (rfb || busy) return;
  if (!runs()) {
    idle();
    return;
  }
  busy = true;
  say(words.wordsConnecting);
  try {
    const answer = await fetch(words.ticketUrl, { method: "POST", headers: { "X-CSRFToken": token } });
    if (answer.status === 409) {
      say((await answer.json()).message);
      clearTimeout(timer);
      timer = setTimeout(connect, 3000);
      return;
    }
    if (answer.status === 401 || answer.status === 403) {
      say(words.wordsSignIn);
      return;
    }
    if (answer.status === 404) {
      say(words.wordsGone);
      return;
    }
    if (!answer.ok) throw new Error(answer.statusText);
    open((await answer.json()).ticket);
  } catch {
    later(words.wordsAgain);
  } finally {
    busy = false;
  }
}

function open(ticket) {
  const address = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${words.socket}`;
  const socket = new WebSocket(address, ["binary", `ticket.${ticket}`]);
  socket.addEventListener("close", (event) => closed(event.code));
  rfb = new RFB(screen, socket, { shared: true });
  // What a looker sends is dropped by the server; this only keeps the page from pretending.
  rfb.viewOnly = !mayType();
  box.dataset.onlyLooks = mayType() ? "no" : "yes";
  rfb.scaleViewport = fit;
  rfb.background = "transparent";
  rfb.addEventListener("connect", () => {
    failures = 0;
    say(mayType() ? words.wordsConnected : words.wordsLooking, false);
  });
}

function closed(code) {
  rfb = null;
  screen.replaceChildren();
  if (code === SIGN_IN) say(words.wordsSignIn);
  else if (code === NO_MACHINE) say(words.wordsGone);
  else if (!runs()) idle();
  else if (code === RIGHTS_CHANGED) refresh().then(connect);
  else later(code === UNREACHABLE ? words.wordsUnreachable : words.wordsAgain);
}

async function type(text) {
  for (const stroke of strokes(text)) {
    if (!rfb) return;
    for (const [key, down] of stroke) rfb.sendKey(key, null, down);
    await new Promise((resolve) => setTimeout(resolve, STROKE_MS));
  }
}

buttons.keys.addEventListener("click", () => {
  rfb?.sendCtrlAltDel();
  rfb?.focus();
});
for (const button of box.querySelectorAll("[data-key]")) {
  button.addEventListener("click", () => rfb?.sendKey(Number(button.dataset.key), null));
}
buttons.paste.addEventListener("click", () => {
  dialog.querySelector("textarea").value = "";
  dialog.returnValue = "";
  dialog.showModal();
});
dialog.addEventListener("close", async () => {
  if (dialog.returnValue === "type") await type(dialog.querySelector("textarea").value);
  rfb?.focus();
});
buttons.scale.addEventListener("click", () => {
  fit = !fit;
  buttons.scale.setAttribute("aria-pressed", String(fit));
  box.classList.toggle("is-real-size", !fit);
  if (rfb) rfb.scaleViewport = fit;
});
buttons.full.addEventListener("click", async () => {
  if (document.fullscreenElement) await document.exitFullscreen();
  else await box.requestFullscreen();
  rfb?.focus();
});
window.addEventListener(
  "keydown",
  (event) => {
    if (!(event.ctrlKey && event.shiftKey && event.key === "F10")) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    rfb?.blur();
    buttons.keys.focus();
  },
  true,
);

// The page's live part says when the machine starts or stops.
new MutationObserver(() => {
  if (runs() && !rfb) {
    failures = 0;
    connect();
  } else if (!runs() && !rfb) {
    clearTimeout(timer);
    idle();
  }
}).observe(document.getElementById("machine-head"), {
  subtree: true,
  childList: true,
  attributeFilter: ["data-machine-state", "data-has-screen"],
});
connect();
