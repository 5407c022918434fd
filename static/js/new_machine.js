// The review beside the form of a new machine, and the fields that only a custom size has.
const form = document.querySelector("[data-new-machine]");
const custom = form.querySelector("[data-custom-size]");
const cloud = form.querySelector("[data-cloud-settings]");
const disk = form.elements.disk_gib;
const windowsHint = form.querySelector("[data-windows-hint]");
const fits = [...form.querySelectorAll("[data-fits]")];
const fitsWords = fits[0].options[0].textContent;
let sizeTouched = form.querySelector(".is-invalid") !== null;
let diskTouched = form.querySelector(".is-invalid") !== null;

function checked(name) {
  return form.querySelector(`input[name=${name}]:checked`);
}

function show(name, words) {
  form.querySelector(`[data-review-of=${name}]`).textContent = words || "–";
}

// What "automatic" means for the kind that is chosen now.
function fit(guest) {
  for (const select of fits) {
    const value = guest.dataset[select.dataset.fits];
    const meant = [...select.options].find((option) => option.value === value);
    select.options[0].textContent = meant ? `${fitsWords}: ${meant.textContent.trim()}` : fitsWords;
  }
}

function hintForWindows(guest, size) {
  const isCustom = size?.value === "custom";
  const cpus = Number(isCustom ? form.elements.cpus.value : size?.dataset.cpus);
  const memory = isCustom ? 1024 * form.elements.memory_gib.value : Number(size?.dataset.memoryMib);
  const wanted = windowsHint.dataset;
  const isSmall = cpus < wanted.cpus || memory < wanted.memoryMib || Number(disk.value) < wanted.diskGib;
  windowsHint.hidden = guest.value !== "windows" || !isSmall;
}

// Windows wants more than the smallest size; one that a person has chosen stays.
function suggestSize(guest) {
  const large = form.querySelector("input[name=size][value=large]");
  if (guest.value !== "windows" || sizeTouched || !large || large.disabled) return;
  large.checked = true;
  if (!diskTouched) disk.value = large.dataset.disk;
}

function review() {
  const guest = checked("guest");
  fit(guest);
  hintForWindows(guest, checked("size"));
  show("guest", guest.dataset.words);
  const size = checked("size");
  const isCustom = size?.value === "custom";
  custom.hidden = !isCustom;
  show("name", form.elements.name.value.trim());
  show("disc", form.elements.disc.selectedOptions[0]?.textContent.trim());
  const image = form.elements.image_disk.selectedOptions[0];
  show("image_disk", image?.textContent.trim());
  if (cloud) cloud.hidden = !("isCloud" in (image?.dataset ?? {}));
  const own = `${form.elements.cpus.value || "?"} CPU, ${form.elements.memory_gib.value || "?"} GB`;
  show("size", isCustom ? `${size.dataset.words}: ${own}` : size?.dataset.words);
  show("disk", disk.value ? `${disk.value} GB, ${checked("disk_kind")?.dataset.words ?? ""}` : "");
  show("network", checked("network")?.dataset.words);
}

disk.addEventListener("input", () => {
  diskTouched = true;
});
form.addEventListener("input", (event) => {
  if (event.target.name === "guest") suggestSize(event.target);
  if (event.target.name === "size") sizeTouched = true;
  if (event.target.name === "size" && event.target.dataset.disk && !diskTouched) disk.value = event.target.dataset.disk;
  // A disk never has less room than the image that it begins as.
  const least = Number(form.elements.image_disk.selectedOptions[0]?.dataset.leastGib ?? 0);
  if (event.target.name !== "disk_gib" && Number(disk.value) < least) disk.value = least;
  review();
});
// A page that comes back by the browser's Back has its fields filled in only now.
window.addEventListener("pageshow", review);
review();
