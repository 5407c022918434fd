// Putting a disc into the library: a resumable upload (tus) with its progress in words.
const box = document.querySelector("[data-upload]");
const words = box.dataset;
const part = (name) => box.querySelector(`[data-${name}]`);
const token = box.querySelector("[name=csrfmiddlewaretoken]").value;
let upload = null;
let paused = false;
let begun = { at: 0, bytes: 0 };

function size(bytes) {
  const units = ["B", "kB", "MB", "GB"];
  const power = Math.min(3, Math.floor(Math.log10(Math.max(bytes, 1)) / 3));
  return `${(bytes / 1000 ** power).toFixed(power > 1 ? 1 : 0)} ${units[power]}`;
}

function duration(seconds) {
  if (!Number.isFinite(seconds)) return "…";
  return seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`;
}

function say(text) {
  part("status").textContent = text;
}

function fail(text) {
  part("now").hidden = true;
  part("drop").hidden = false;
  part("error").textContent = text;
  part("error").hidden = false;
}

function progress(sent, total) {
  part("bar").value = (1000 * sent) / total;
  if (sent === total) {
    say(words.wordsChecking);
    return;
  }
  const seconds = (performance.now() - begun.at) / 1000;
  const speed = (sent - begun.bytes) / Math.max(seconds, 0.001);
  say(
    words.wordsProgress
      .replace("%(percent)s", Math.floor((100 * sent) / total))
      .replace("%(size)s", size(total))
      .replace("%(speed)s", size(speed))
      .replace("%(left)s", duration((total - sent) / speed)),
  );
}

async function start(file) {
  part("error").hidden = true;
  part("done").hidden = true;
  if (file.size > Number(words.largest)) {
    fail(words.wordsLarge);
    return;
  }
  part("drop").hidden = true;
  part("now").hidden = false;
  part("name").textContent = file.name;
  paused = false;
  upload = new tus.Upload(file, {
    endpoint: words.url,
    chunkSize: Number(words.chunk),
    headers: { "X-CSRFToken": token },
    metadata: { filename: file.name },
    retryDelays: [0, 1000, 3000, 5000, 10000, 20000, 30000, 60000],
    removeFingerprintOnSuccess: true,
    onShouldRetry: (error) => {
      const status = error.originalResponse ? error.originalResponse.getStatus() : 0;
      if (status >= 400 && status < 500 && status !== 409 && status !== 423) return false;
      say(words.wordsRetry);
      return true;
    },
    onProgress: (sent, total) => {
      if (begun.at === 0) begun = { at: performance.now(), bytes: sent };
      progress(sent, total);
    },
    onError: (error) => {
      const answer = error.originalResponse;
      const refused = answer && answer.getStatus() === 422;
      fail(refused ? answer.getBody() : words.wordsFailed);
    },
    onSuccess: () => {
      part("now").hidden = true;
      part("drop").hidden = false;
      part("done").textContent = `${file.name}: ${words.wordsDone}`;
      part("done").hidden = false;
    },
  });
  const earlier = await upload.findPreviousUploads();
  if (earlier.length) upload.resumeFromPreviousUpload(earlier[0]);
  go();
}

function go() {
  begun = { at: 0, bytes: 0 };
  upload.start();
}

part("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  event.target.value = "";
  if (file) start(file);
});

part("pause").addEventListener("click", () => {
  paused = !paused;
  part("pause").textContent = paused ? part("pause").dataset.wordsResume : part("pause").dataset.wordsPause;
  if (paused) {
    upload.abort();
    say(words.wordsPaused);
  } else {
    go();
  }
});

part("cancel").addEventListener("click", async () => {
  await upload.abort(true).catch(() => {});
  part("now").hidden = true;
  part("drop").hidden = false;
});

const drop = part("drop");
for (const name of ["dragenter", "dragover"]) {
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.add("is-over");
  });
}
for (const name of ["dragleave", "drop"]) {
  drop.addEventListener(name, () => drop.classList.remove("is-over"));
}
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file) start(file);
});

addEventListener("beforeunload", (event) => {
  if (!part("now").hidden && !paused) event.preventDefault();
});
