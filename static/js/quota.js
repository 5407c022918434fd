// The bars of a quota: what there would be afterwards, as a form is filled in; and whether it has to be asked for then.
const forms = [...document.querySelectorAll("[data-quota-form]")];
let form = forms.length === 1 ? forms[0] : undefined; // of several the one that is being filled in
const bars = [...document.querySelectorAll("[data-quota] [data-field]")];
const homes = [...document.querySelectorAll("[data-quota-of]")]; // the bars of each that it may belong to

function counts(element) {
  const isChoice = element.type === "radio" || element.type === "checkbox";
  return !element.closest("[hidden]") && (!isChoice || element.checked);
}

// What the form takes of it: what its choices stand for, and the largest number that is typed for it.
function takes(field) {
  const elements = form ? [form, ...form.elements].filter(counts) : [];
  const chosen = elements.map((each) => Number(each.getAttribute(`data-takes-${field}`) ?? 0));
  const typed = elements
    .filter((each) => each.dataset.takes === field)
    .map((each) => Number(each.value || 0) * Number(each.dataset.times ?? 1) - Number(each.dataset.has ?? 0));
  return chosen.reduce((sum, each) => sum + each, 0) + Math.max(0, ...typed);
}

function said(amount, bar) {
  const number = amount / Number(bar.dataset.times);
  if (!bar.dataset.unit) return String(amount);
  if (bar.dataset.field === "memory_mib" && amount < 1024) return `${amount} MB`;
  return `${Math.round(number * 10) / 10} ${bar.dataset.unit}`;
}

function draw(bar) {
  const used = Number(bar.dataset.used);
  const limit = Number(bar.dataset.limit);
  const more = takes(bar.dataset.field);
  const percent = (amount) => (limit ? Math.min(100, Math.floor((amount * 100) / limit)) : amount ? 100 : 0);
  bar.querySelector("[data-then]").hidden = more === 0;
  bar.querySelector("[data-afterwards]").textContent = said(used + more, bar);
  const [now, then] = bar.querySelectorAll("rect");
  now.setAttribute("width", percent(used));
  then.setAttribute("x", percent(used));
  then.setAttribute("width", percent(used + more) - percent(used));
  const isOver = more > 0 && used + more > limit;
  bar.classList.toggle("is-over", isOver);
  return isOver;
}

// A size of one's own has to be asked for where it fits into none of the sizes that are free.
function isTooLarge() {
  const custom = form.querySelector("input[name=size][value=custom]");
  const sizes = [...form.querySelectorAll("input[name=size][data-memory-mib]")];
  if (!custom?.checked || !sizes.some((size) => "needsApproval" in size.dataset)) return false;
  const cpus = Number(form.elements.cpus.value);
  const memory = 1024 * form.elements.memory_gib.value;
  const isLike = (size) => cpus === Number(size.dataset.cpus) && memory === Number(size.dataset.memoryMib);
  const free = sizes.filter((size) => !("needsApproval" in size.dataset));
  if (sizes.some((size) => isLike(size) && !free.includes(size))) return true;
  return !free.some((size) => cpus <= size.dataset.cpus && memory <= size.dataset.memoryMib);
}

function isMarked() {
  const marked = [...form.querySelectorAll("[data-needs-approval]")];
  return marked.some((each) => each.checked || each.selected);
}

// Of what may be chosen under "Belongs to", the bars of the chosen one are shown, and only they count.
function follow() {
  for (const home of homes) home.hidden = home.dataset.quotaOf !== (form?.elements.team?.value ?? "");
}

function show() {
  follow();
  const isOver = bars.filter((bar) => !bar.closest("[data-quota-of][hidden]")).map(draw).some(Boolean);
  const ask = form?.querySelector("[data-ask]");
  if (!ask) return;
  const free = "isFree" in ask.dataset;
  // What the server has said of this form stays: it knows of sizes that a page of one machine does not show.
  const hasToAsk = "stays" in ask.dataset || isOver || (!free && (isMarked() || isTooLarge()));
  ask.hidden = !hasToAsk;
  for (const part of form.querySelectorAll("[data-words-ask]")) {
    part.textContent = hasToAsk ? part.dataset.wordsAsk : part.dataset.wordsNow;
  }
}

if (forms.length) {
  for (const each of forms) {
    each.addEventListener("input", () => {
      form = each;
      setTimeout(show); // after what other scripts make of the change
    });
  }
  window.addEventListener("pageshow", show);
  show();
}
