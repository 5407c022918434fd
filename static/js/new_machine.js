// The review beside the form of a new machine, and the fields that only a custom size has.
const form = document.querySelector("[data-new-machine]");
const custom = form.querySelector("[data-custom-size]");
const disk = form.elements.disk_gib;
let diskTouched = form.querySelector(".is-invalid") !== null;

function checked(name) {
  return form.querySelector(`input[name=${name}]:checked`);
}

function show(name, words) {
  form.querySelector(`[data-review-of=${name}]`).textContent = words || "–";
}

function review() {
  const size = checked("size");
  const isCustom = size?.value === "custom";
  custom.hidden = !isCustom;
  show("name", form.elements.name.value.trim());
  show("disc", form.elements.disc.selectedOptions[0]?.textContent.trim());
  const own = `${form.elements.cpus.value || "?"} CPU, ${form.elements.memory_gib.value || "?"} GB`;
  show("size", isCustom ? `${size.dataset.words}: ${own}` : size?.dataset.words);
  show("disk", disk.value ? `${disk.value} GB, ${checked("disk_kind")?.dataset.words ?? ""}` : "");
  show("network", form.elements.network.selectedOptions[0]?.textContent.trim());
}

disk.addEventListener("input", () => {
  diskTouched = true;
});
form.addEventListener("input", (event) => {
  if (event.target.name === "size" && event.target.dataset.disk && !diskTouched) disk.value = event.target.dataset.disk;
  review();
});
// A page that comes back by the browser's Back has its fields filled in only now.
window.addEventListener("pageshow", review);
review();
