// Live charts: asks for the points that are new while somebody looks, and draws them. The words beside them come from the server.
import uPlot from "../uplot/uPlot.esm.js";

const box = document.getElementById("figures");
const nothing = box.querySelector("[data-figures-none]");
const pollMs = Number(box.dataset.poll) * 1000;
const STROKES = ["#0f766e", "#b45309"];
const FILLS = ["rgba(15, 118, 110, .12)", "rgba(180, 83, 9, .10)"];
const PEAKS = ["rgba(15, 118, 110, .35)", "rgba(180, 83, 9, .35)"];
const HEIGHT = 180;
// The browser's own time, as its person writes it, but always of 24 hours.
const CLOCK = new Intl.DateTimeFormat(
  navigator.language,
  box.dataset.range === "month" ? { day: "numeric", month: "short" } : { hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
);
const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];
const plots = [];
let data = null;
let busy = false;

function short(value) {
  return value >= 100 ? String(Math.round(value)) : String(Math.round(value * 10) / 10);
}

function bytes(value) {
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${short(value)} ${UNITS[unit]}`;
}

const words = {
  percent: (value) => `${short(value)} %`,
  bytes,
  bytes_per_second: (value) => `${bytes(value)}/s`,
  per_second: (value) => short(value),
  number: (value) => short(value),
};

// Steps of 1024 where bytes are counted, so that the marks stand at round numbers.
const BINARY = [];
for (let power = 0; power < 50; power += 1) BINARY.push(2 ** power);

// From nothing to a little above the highest; a machine that rests shows a flat line and no noise.
const LEAST = { percent: 10, bytes: 1024, bytes_per_second: 1024, per_second: 10, number: 1 };

function made(place) {
  const unit = place.dataset.unit;
  const fields = [...place.closest("section").querySelectorAll("[data-drawn]")].map((row) => row.dataset.line);
  const say = words[unit];
  const series = [{}];
  const coarse = data.step > 5;
  fields.forEach((field, index) => {
    series.push({ stroke: STROKES[index], fill: FILLS[index], width: 1.5, points: { size: 3 } });
    if (coarse) series.push({ stroke: PEAKS[index], width: 1, points: { show: false } });
  });
  const axis = { stroke: "#55636f", grid: { stroke: "#e5eaec", width: 1 }, ticks: { stroke: "#e5eaec", width: 1 }, font: "11px sans-serif" };
  const options = {
    width: place.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    series,
    scales: {
      x: { time: true, range: () => [data.times.at(-1) - data.seconds, data.times.at(-1)] },
      y: { range: (_, __, most) => [0, Math.max((most ?? 0) * 1.1, LEAST[unit])] },
    },
    axes: [
      { ...axis, space: 60, values: (_, marks) => marks.map((mark) => CLOCK.format(new Date(mark * 1000))) },
      { ...axis, size: 64, values: (_, marks) => marks.map((mark) => say(mark)), ...(unit.startsWith("bytes") ? { incrs: BINARY } : {}) },
    ],
  };
  const plot = new uPlot(options, numbers(fields, coarse), place);
  return { place, plot, fields, coarse };
}

function numbers(fields, coarse) {
  return [data.times, ...fields.flatMap((field) => (coarse ? [data.average[field], data.peak[field]] : [data.average[field]]))];
}

// What is new goes behind what is there, and what is too old goes.
function merge(fresh) {
  if (!data || fresh.step !== data.step || fresh.times.length === 0) {
    if (!data) data = fresh;
    return;
  }
  const first = fresh.times[0];
  const kept = data.times.filter((at) => at < first && at > fresh.times.at(-1) - data.seconds);
  const from = data.times.indexOf(kept[0] ?? -1);
  const cut = (old, now) => (kept.length ? old.slice(from, from + kept.length) : []).concat(now);
  for (const kind of ["average", "peak"]) {
    for (const field of Object.keys(data[kind])) data[kind][field] = cut(data[kind][field], fresh[kind][field]);
  }
  data.times = kept.concat(fresh.times);
}

function draw() {
  if (!plots.length) for (const place of box.querySelectorAll("[data-chart]")) plots.push(made(place));
  else for (const each of plots) each.plot.setData(numbers(each.fields, each.coarse));
  const known = Object.values(data.average).some((values) => values.some((value) => value !== null));
  nothing.hidden = known;
  box.dataset.drawn = String(data.times.at(-1));
}

function tell(charts) {
  for (const chart of charts) {
    const section = box.querySelector(`[data-chart="${chart.name}"]`).closest("section");
    for (const line of chart.lines) {
      const row = section.querySelector(`[data-line="${line.field}"]`);
      for (const word of ["now", "average", "peak"]) row.querySelector(`[data-word="${word}"]`).textContent = line[word];
    }
  }
}

async function ask() {
  if (busy || document.hidden) return;
  busy = true;
  try {
    // The last two points again: the newest of a coarse range is not full yet.
    const since = data ? data.times.at(-1) - 2 * data.step : 0;
    const answer = await fetch(`${box.dataset.figures}?range=${box.dataset.range}&since=${since}`, { credentials: "same-origin" });
    if (!answer.ok || answer.redirected) return;
    const fresh = await answer.json();
    merge(fresh);
    tell(fresh.charts);
    draw();
  } catch {
    // The server is away; the page's own notice says so.
  } finally {
    busy = false;
  }
}

new ResizeObserver(() => {
  for (const { place, plot } of plots) {
    if (place.clientWidth !== plot.width) plot.setSize({ width: place.clientWidth, height: HEIGHT });
  }
}).observe(box);
document.addEventListener("visibilitychange", ask);
setInterval(ask, pollMs);
ask();
