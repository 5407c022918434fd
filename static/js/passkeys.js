// Passkeys: what allauth's own script (webauthn.js) needs is said by a button, and a ceremony that fails is said in words.
const button = document.querySelector("[data-passkey]");
if (button) {
  const ids = { credential: "passkey-credential" };
  if (document.getElementById("passkey-data")) ids.data = "passkey-data";
  if (document.getElementById("passkey-passwordless")) ids.passwordless = "passkey-passwordless";
  ids[button.dataset.passkey] = button.id;
  window.allauth.webauthn.forms[`${button.dataset.passkey}Form`]({ ids });
}

document.addEventListener("allauth.error", (event) => {
  event.preventDefault();
  const words = document.querySelector("[data-passkey-failed]");
  if (words) words.hidden = false;
});
