// Small pictures of screens: asks for those on the page while somebody looks, and shows each when it has come.
import { onMessage, say } from "./live.js";

const SECONDS = 61; // a little more than a host is asked at most

function ask() {
  if (document.hidden) return;
  const machines = [...new Set([...document.querySelectorAll("[data-screen]")].map((picture) => picture.dataset.screen))];
  if (machines.length) say({ screens: machines });
}

function show(machine, at) {
  for (const picture of document.querySelectorAll(`[data-screen="${machine}"]`)) {
    picture.src = `/machines/${machine}/screen.png?at=${at}`;
    picture.hidden = false;
  }
}

onMessage((said) => {
  if (said.watching) ask();
  if (said.screen) show(said.screen, said.at);
});
setInterval(ask, SECONDS * 1000);
document.addEventListener("visibilitychange", ask);
