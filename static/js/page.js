// Small things of every page: dialogs, questions before what has no undo, copying, menus.
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener) document.getElementById(opener.dataset.opens).showModal();
  if (event.target.closest("[data-closes]")) event.target.closest("dialog").close();
  const copier = event.target.closest("[data-copy]");
  if (copier) copy(copier);
  const saver = event.target.closest("[data-save]");
  if (saver) save(saver);
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.confirm && !window.confirm(form.dataset.confirm)) {
    event.preventDefault();
    return;
  }
  if (form.method === "post") {
    // One press is one wish: the button waits for the answer.
    for (const button of form.querySelectorAll("button[type=submit], button:not([type])")) {
      setTimeout(() => (button.disabled = true));
      setTimeout(() => (button.disabled = false), 8000);
    }
  }
});

for (const form of document.querySelectorAll("form[data-typed-name]")) {
  const typed = form.querySelector("input[name=name]");
  const button = form.querySelector(".btn-danger");
  const check = () => {
    button.disabled = typed.value.trim() !== form.dataset.typedName;
  };
  typed.addEventListener("input", check);
  check();
}

async function copy(button) {
  const text = document.getElementById(button.dataset.copy).textContent.trim();
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without TLS a browser keeps its clipboard: select the text instead, so that Ctrl-C takes it.
    getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
    return;
  }
  button.classList.add("is-copied");
  setTimeout(() => button.classList.remove("is-copied"), 1500);
}

function save(button) {
  const text = document.getElementById(button.dataset.save).textContent;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  link.download = button.dataset.saveAs;
  link.click();
  URL.revokeObjectURL(link.href);
}

// Seconds that run down between two words of the server.
setInterval(() => {
  for (const place of document.querySelectorAll("[data-countdown]")) {
    const left = Number.parseInt(place.textContent, 10);
    if (left > 0) place.textContent = String(left - 1);
  }
}, 1000);
