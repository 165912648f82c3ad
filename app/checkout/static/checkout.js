// The checkout page in the browser: groups the code as it is typed or pasted, and looks at its check character, so that
// an honest mistake is told at once and never sent.
"use strict";

(() => {
  const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  const LENGTH = 16;
  const READ_AS = { O: "0", I: "1", L: "1" };

  /** As the server reads it: case, spaces and dashes do not count; O is 0, I and L are 1. */
  const plain = (typed) => typed.toUpperCase().replace(/[\s\-‐-―]/g, "").replace(/[OIL]/g, (letter) => READ_AS[letter]);

  const grouped = (code) => code.replace(/(.{4})(?=.)/g, "$1-");

  /** Multiplies by α = x in GF(2)[x] modulo x⁵+x²+1. */
  const timesAlpha = (value) => ((value << 1) ^ (value & 16 ? 0b100101 : 0)) & 31;

  /** Σ αⁱ·cᵢ is 0 for every code that was ever drawn. */
  function hasCheck(code) {
    let total = 0;
    for (const character of [...code].reverse()) total = timesAlpha(total) ^ ALPHABET.indexOf(character);
    return total === 0;
  }

  /** What is wrong with it, in words; nothing when it can be a code. */
  function faultOf(code) {
    const stranger = [...code].find((character) => !ALPHABET.includes(character));
    if (stranger) return `“${stranger}” is in no code: they have letters and digits only, and no U.`;
    if (code.length !== LENGTH) return `A code has ${LENGTH} letters and digits; this one has ${code.length}.`;
    return hasCheck(code) ? "" : "This code has a typing mistake. Look again: it did not count as a try.";
  }

  function complain(field, words) {
    const place = document.getElementById("alert");
    place.hidden = false;
    place.textContent = words;
    field.setAttribute("aria-invalid", "true");
    field.focus();
  }

  /** Dashes come by themselves. A caret in the midst stays before the character that it stood before. */
  function regroup(field) {
    const after = plain(field.value.slice(field.selectionStart)).length;
    const code = plain(field.value);
    const shown = grouped(code);
    if (shown === field.value) return;
    field.value = shown;
    let caret = shown.length;
    for (let left = after; left > 0; caret -= 1) if (shown[caret - 1] !== "-") left -= 1;
    field.setSelectionRange(caret, caret);
  }

  let sent = false;

  /** A live region must change to be read out, and a page that has just come is still being read. */
  const say = (words) => setTimeout(() => (document.getElementById("said").textContent = words), 60);

  function wait(button, words) {
    sent = true;
    button.setAttribute("aria-busy", "true");
    say(words);
  }

  /** Then the form goes on its way, as if the button had been pressed at that moment. */
  async function solveFor(form, button) {
    wait(button, "Checking that you are not a robot. This takes a moment.");
    const solution = await captcha.solve(JSON.parse(form.dataset.captcha));
    [sent, form.elements.captcha.value] = [false, solution || ""];
    button.removeAttribute("aria-busy");
    if (solution) return button.click();
    const alert = document.getElementById("alert");
    alert.classList.remove("without-script");
    document.getElementById("checking")?.remove();
    say("The check could not be made");
  }

  document.addEventListener("input", (event) => {
    if (event.target.name !== "code") return;
    if (!event.isComposing) regroup(event.target);
    event.target.removeAttribute("aria-invalid");
  });

  document.addEventListener("submit", (event) => {
    const form = event.target;
    const field = form.elements.code;
    const fault = field && faultOf(plain(field.value));
    if (fault) complain(field, fault);
    if (fault || sent) return event.preventDefault();
    const button = event.submitter || form.querySelector("button");
    if (form.dataset.captcha && !form.elements.captcha.value) {
      event.preventDefault();
      return solveFor(form, button);
    }
    wait(button, "One moment, please");
  });

  /** A page that the browser kept may be sent again. */
  addEventListener("pageshow", (event) => {
    if (event.persisted === false) return; // it has just come, and may be solving a captcha
    sent = false;
    for (const button of document.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
  });

  document.documentElement.classList.add("js");
  document.addEventListener("DOMContentLoaded", () => {
    const told = document.querySelector(".alert:not([hidden])");
    const field = document.getElementById("code");
    const going = document.querySelector("[data-goes-on] button");
    if (going) {
      going.focus();
      going.click();
    } else if (told && field) field.focus();
  });
})();
