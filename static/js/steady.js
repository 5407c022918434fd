// Loads a page again whose scripts did not arrive. Chromium drops what it is fetching when the network of its own machine
// changes, which on a host happens with each machine that starts there.
{
  const MOST = 3;
  const key = `loaded again: ${location.pathname}`;
  let failed = false;
  window.addEventListener(
    "error",
    (event) => {
      if (event.target instanceof HTMLScriptElement || event.target instanceof HTMLLinkElement) failed = true;
    },
    true,
  );
  window.addEventListener("load", () => {
    const times = Number(sessionStorage.getItem(key) ?? 0);
    if (!failed) sessionStorage.removeItem(key);
    else if (times < MOST) {
      sessionStorage.setItem(key, String(times + 1));
      setTimeout(() => location.reload(), 500);
    }
  });
}
