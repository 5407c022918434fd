// Uploads discs by the tus protocol: goes on after a lost network, a pause, and a reloaded page.

const tus = window.tus; // tus-js-client, a classic script before this one
const area = document.getElementById("upload-area");
const drop = document.getElementById("upload-drop");
const input = document.getElementById("upload-file");
const list = document.getElementById("upload-list");
const token = document.getElementById("upload-csrf").value;
const texts = area.dataset;

const TRY_AGAIN_MS = 4000;
const SPEED_OVER_MS = 5000;

function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (_match, name) => values[name]);
}

// Counted as Django's filesizeformat does, so that the page and the list agree.
function bytes(count) {
  const units = ["B", "KB", "MB", "GB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${count.toLocaleString(document.documentElement.lang || "en", { maximumFractionDigits: 1 })} ${units[unit]}`;
}

function duration(seconds) {
  return seconds >= 90
    ? fill(texts.textMinutes, { count: Math.round(seconds / 60) })
    : fill(texts.textSeconds, { count: Math.max(1, Math.round(seconds)) });
}

/** The sentence that the server answered with, where there is one. */
function sentence(error) {
  const response = error.originalResponse;
  if (!response) return "";
  if (response.getStatus() === 403) return texts.textExpired;
  try {
    return JSON.parse(response.getBody()).message || "";
  } catch {
    return "";
  }
}

/** Whether the same request may succeed later: no answer at all, a busy upload, a server that restarts. */
function passes(error) {
  if (!error.originalRequest) return false;
  const status = error.originalResponse ? error.originalResponse.getStatus() : 0;
  return status === 0 || status === 409 || status === 423 || (status >= 500 && status !== 507);
}

class Item {
  constructor(file) {
    this.row = document.getElementById("upload-item").content.firstElementChild.cloneNode(true);
    this.bar = this.part("progress");
    this.part("[data-name]").textContent = file.name;
    this.bar.setAttribute("aria-label", file.name);
    this.part("[data-pause]").addEventListener("click", () => this.pause());
    this.part("[data-resume]").addEventListener("click", () => this.resume());
    this.part("[data-cancel]").addEventListener("click", () => this.cancel());
    this.part("[data-dismiss]").addEventListener("click", () => this.row.remove());
    this.samples = [];
    this.percent = 0;
    this.timer = 0;
    this.state = "going";
    this.upload = new tus.Upload(file, {
      endpoint: area.dataset.endpoint,
      chunkSize: Number(area.dataset.chunkBytes),
      metadata: { filename: file.name },
      headers: { "X-CSRFToken": token },
      retryDelays: [0, 500, 1000],
      removeFingerprintOnSuccess: true,
      onShouldRetry: (error) => passes(error) && navigator.onLine,
      onUploadUrlAvailable: () => this.known(),
      onProgress: (sent, whole) => this.progress(sent, whole),
      onSuccess: () => this.end("text-body", texts.textAdded),
      onError: (error) => this.failed(error),
    });
    list.append(this.row);
  }

  part(selector) {
    return this.row.querySelector(selector);
  }

  say(text) {
    this.part("[data-status]").textContent = text;
  }

  async begin() {
    this.say(texts.textStarting);
    const earlier = await this.upload.findPreviousUploads();
    if (earlier.length) this.upload.resumeFromPreviousUpload(earlier[0]);
    if (this.state === "going") this.upload.start();
  }

  /** The upload has an address: a row for it among the unfinished ones is this one. */
  known() {
    const path = new URL(this.upload.url, location.href).pathname;
    document.querySelector(`[data-unfinished="${CSS.escape(path)}"]`)?.remove();
    tidy();
  }

  progress(sent, whole) {
    if (this.state !== "going") return;
    const now = performance.now();
    this.samples.push({ now, sent });
    while (this.samples.length > 2 && this.samples[0].now < now - SPEED_OVER_MS) this.samples.shift();
    this.percent = Math.floor((100 * sent) / whole);
    this.bar.value = Math.floor((1000 * sent) / whole);
    if (sent >= whole) {
      this.say(texts.textChecking);
      return;
    }
    const first = this.samples[0];
    const speed = (1000 * Math.max(0, sent - first.sent)) / (now - first.now);
    if (Number.isFinite(speed) && speed > 0) {
      const values = { percent: this.percent, speed: `${bytes(speed)}/s`, left: duration((whole - sent) / speed) };
      this.say(fill(texts.textGoing, values));
    }
  }

  pause() {
    this.halt("paused");
    this.upload.abort();
    this.say(fill(texts.textPaused, { percent: this.percent }));
    this.part("[data-resume]").focus();
  }

  resume() {
    this.halt("going");
    this.say(texts.textStarting);
    this.upload.start();
    this.part("[data-pause]").focus();
  }

  /** A new state, with nothing left of the old one: no timer, no speed of before. */
  halt(state) {
    window.clearTimeout(this.timer);
    this.samples = [];
    this.state = state;
    this.part("[data-pause]").hidden = state !== "going";
    this.part("[data-resume]").hidden = state === "going" || state === "ended";
  }

  async cancel() {
    this.halt("ended");
    this.row.remove();
    input.focus();
    try {
      await this.upload.abort(true);
    } catch {
      // It ends by itself: the server removes what nobody comes back for.
    }
  }

  failed(error) {
    if (this.state === "ended" || this.state === "paused") return;
    if (!passes(error)) {
      this.end("text-danger", sentence(error) || texts.textFailed);
      return;
    }
    this.halt("waiting");
    this.say(texts.textWaiting);
    this.timer = window.setTimeout(() => {
      this.halt("going");
      this.upload.start();
    }, TRY_AGAIN_MS);
  }

  end(outcome, text) {
    this.halt("ended");
    this.part("[data-cancel]").hidden = true;
    this.part("[data-dismiss]").hidden = false;
    this.bar.hidden = true;
    const status = this.part("[data-status]");
    status.classList.remove("text-secondary");
    status.classList.add(outcome);
    this.say(text);
  }
}

/** No heading over an empty list. */
function tidy() {
  const unfinished = document.getElementById("upload-unfinished");
  if (unfinished && !unfinished.querySelector("[data-unfinished]")) unfinished.remove();
}

function take(files) {
  for (const file of files) new Item(file).begin();
}

function takeChosen() {
  take(input.files);
  input.value = ""; // the same file can be chosen again
}

input.addEventListener("change", takeChosen);
takeChosen(); // what was chosen before this script was there
area.dataset.ready = "yes";

let inside = 0;
drop.addEventListener("dragenter", () => drop.classList.toggle("is-over", (inside += 1) > 0));
drop.addEventListener("dragleave", () => drop.classList.toggle("is-over", (inside -= 1) > 0));
drop.addEventListener("drop", (event) => {
  inside = 0;
  drop.classList.remove("is-over");
  take(event.dataTransfer.files);
});
// A file dropped beside the area would otherwise replace the page.
for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());

for (const row of document.querySelectorAll("[data-unfinished]")) {
  row.querySelector("[data-remove]").addEventListener("click", async () => {
    const headers = { "X-CSRFToken": token, "Tus-Resumable": "1.0.0" };
    const answer = await fetch(row.dataset.unfinished, { method: "DELETE", headers }).catch(() => null);
    if (answer && (answer.ok || answer.status === 404)) {
      row.remove();
      tidy();
      input.focus();
    }
  });
}
