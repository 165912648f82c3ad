// The field for a gift card's code: groups it as it is typed, and looks at its check character, so that an honest mistake
// is told at once and never sent. Without this script the server says it.
"use strict";

(() => {
  const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  const words = document.currentScript.dataset.mistyped;
  const form = document.getElementById("gift-card-form");
  const field = form.elements.gift_card_code;
  const fault = document.getElementById("gift-card-fault");

  const bare = (typed) => typed.toUpperCase().replace(/[\s\-‐-―]/g, "");

  /** Whether its check character fits: Σ αⁱ·cᵢ over GF(32) is 0. O is read as 0, I and L as 1. */
  function fits(typed) {
    const code = bare(typed).replace(/O/g, "0").replace(/[IL]/g, "1");
    let total = 0;
    for (const character of [...code].reverse()) {
      const value = ALPHABET.indexOf(character);
      if (value < 0) return false;
      total = ((total << 1) ^ (total & 16 ? 37 : 0)) ^ value;
    }
    return code.length === 16 && total === 0;
  }

  field.addEventListener("input", (event) => {
    fault.textContent = "";
    field.removeAttribute("aria-invalid");
    if (event.isComposing || field.selectionStart !== field.value.length) return;
    field.value = (bare(field.value).match(/.{1,4}/gsu) || []).join("-");
  });

  let sent = false;
  form.addEventListener("submit", (event) => {
    if (sent || !fits(field.value)) event.preventDefault();
    if (sent) return;
    sent = fits(field.value);
    if (sent) return;
    fault.textContent = words;
    field.setAttribute("aria-invalid", "true");
    field.focus();
  });

  // Back from the next page by the browser's history: no code stays in the field, and it can be sent again.
  addEventListener("pageshow", () => {
    sent = false;
    field.value = "";
  });
})();
