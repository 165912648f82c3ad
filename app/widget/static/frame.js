// The field in its frame. It speaks to the page around it, through one port, and to us. The page never gets the code.
"use strict";

(() => {
  const PATIENCE_MS = 20000;
  const TRIES = 4;
  const ORIGINS = JSON.parse(document.body.dataset.origins);
  const UNUSUAL_DIGITS = JSON.parse(document.body.dataset.digits);
  const SAYINGS = {
    "code-missing": "Type the code of your gift card.",
    "code-mistyped": "There is a typing mistake in this code. Please compare it once more.",
    "code-not-accepted": "This code is not accepted here. It may have been used already.",
    "currency-mismatch": "This gift card is in another currency.",
    "try-later": "Those were many tries. Please wait a little before the next.",
    "captcha-needed": "Your browser could not show that it is no robot. Please try later, or in another browser.",
    busy: "Many people are here at once. Please try again in some seconds.",
    unreachable: "We could not be reached. Please check your connection and try again.",
    "invalid-request": "This field does not work as it should. Please tell the shop.",
  };

  /** Marks this frame, to which a captcha is bound. */
  const NONCE = crypto.getRandomValues(new Uint8Array(16)).reduce((hex, byte) => hex + byte.toString(16).padStart(2, "0"), "");

  const root = document.documentElement;
  const [form, field] = [document.forms[0], document.getElementById("field")];
  const [bound, why, done] = ["bound", "why", "done"].map((id) => document.getElementById(id));
  let port = null;
  let offer = null; // what the code token will be bound to: {order_reference, amount, shopper_key}
  let isAsking = false;

  // ── the page around us ───────────────────────────────────────────────────────────────────────────────────────

  /** Only the page that holds this frame, only from an origin that the store has named, and only once. */
  addEventListener("message", (event) => {
    if (port || parent === self || event.source !== parent || !ORIGINS.includes(event.origin)) return;
    if (event.data?.scrip !== "connect" || event.ports.length !== 1) return;
    [port] = event.ports;
    port.onmessage = ({ data }) => {
      if (data.kind === "show") show(data);
      if (data.kind === "tokenise") askForToken();
    };
    port.postMessage({ kind: "ready" });
    show(event.data);
    new ResizeObserver(tellHeight).observe(document.querySelector("main"));
  });

  function tellHeight() {
    port.postMessage({ kind: "height", height: Math.ceil(document.querySelector("main").getBoundingClientRect().height) });
  }

  // ── what is shown ────────────────────────────────────────────────────────────────────────────────────────────

  function show(asked) {
    dress(asked);
    const wrong = wrongIn(asked);
    offer = wrong ? null : offerOf(asked);
    field.disabled = wrong !== null;
    bound.textContent = wrong ? "" : `Up to ${inWords(offer.amount)}`;
    if (wrong) refuse("invalid-request", { message: `The attribute ${wrong} of <scrip-code> is missing or wrong.` });
    else if (why.dataset.slug === "invalid-request") calm();
  }

  /** The first attribute that cannot be right, or null. The service looks again. */
  function wrongIn({ order, amount, currency, shopper }) {
    if (typeof order !== "string" || order.length < 1 || order.length > 200) return "order";
    if (!/^[1-9][0-9]{0,12}$/.test(amount)) return "amount";
    if (!/^[A-Z]{3}$/.test(currency)) return "currency";
    return shopper === null || /^[!-~]{8,128}$/.test(shopper) ? null : "shopper";
  }

  const offerOf = ({ order, amount, currency, shopper }) => ({
    order_reference: order,
    amount: { amount_minor: Number(amount), currency },
    shopper_key: shopper,
  });

  /** `30.00 GBP`, by the digits of ISO 4217. */
  function inWords({ amount_minor, currency }) {
    const digits = UNUSUAL_DIGITS[currency] ?? 2;
    const text = String(amount_minor).padStart(digits + 1, "0");
    const whole = text.slice(0, text.length - digits);
    return `${whole}${digits ? "." : ""}${text.slice(whole.length)} ${currency}`;
  }

  const isColour = (text) =>
    /^(#[0-9a-f]{3,8}|[a-z]{3,20}|(rgb|hsl)a?\([0-9.,%/ deg]{5,40}\))$/i.test(text) &&
    !/^(in(herit|itial)|unset|revert|currentcolor)$/i.test(text) &&
    CSS.supports("color", text);

  /** A length between two bounds in pixels: iPhones zoom into fields whose letters are smaller than 16. */
  const isLength = (least, most) => (text) => {
    const [, number, unit] = text.match(/^(\d{1,3}(?:\.\d{1,3})?)(px|rem)$/) || [];
    const pixels = Number(number) * (unit === "rem" ? 16 : 1);
    return pixels >= least && pixels <= most;
  };

  const LOOKS = {
    color: isColour,
    muted: isColour,
    background: isColour,
    border: isColour,
    accent: isColour,
    error: isColour,
    radius: isLength(0, 32),
    "font-size": isLength(16, 24),
  };

  /** Whatever is neither a colour nor a length of the kind that is asked for changes nothing. */
  function dress({ look, scheme, dir }) {
    for (const [name, isGood] of Object.entries(LOOKS)) {
      const text = String(look?.[name] ?? "").trim();
      if (text && isGood(text)) root.style.setProperty(`--${name}`, text);
      else root.style.removeProperty(`--${name}`);
    }
    root.dataset.scheme = scheme === "dark" ? "dark" : "light";
    root.dir = dir === "rtl" ? "rtl" : "ltr";
  }

  function calm() {
    [why.textContent, done.textContent] = ["", ""];
    delete why.dataset.slug;
    field.removeAttribute("aria-invalid");
  }

  /** Says it to the shopper, and its slug to the page. */
  function refuse(slug, { message = SAYINGS[slug], retry_after_s } = {}) {
    complain(slug);
    port.postMessage({ kind: "error", slug: slug === "code-missing" ? "code-mistyped" : slug, message, retry_after_s });
  }

  function complain(slug) {
    calm();
    [why.textContent, why.dataset.slug] = [SAYINGS[slug], slug];
    if (slug.startsWith("code-")) field.setAttribute("aria-invalid", "true");
  }

  // ── typing ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Groups of four, with the caret where it was. Not while a keyboard is still composing. */
  function regroup() {
    const before = codes.bare(field.value.slice(0, field.selectionStart)).length;
    const shown = codes.group(field.value);
    if (shown !== field.value) {
      field.value = shown;
      const place = before + Math.floor(Math.max(0, before - 1) / 4);
      if (document.activeElement === field) field.setSelectionRange(place, place);
    }
    calm();
    if (codes.bare(shown).length >= 16 && codes.read(shown) === null) complain("code-mistyped");
  }

  field.addEventListener("input", (event) => {
    if (!event.isComposing) regroup();
  });
  field.addEventListener("compositionend", regroup);
  field.addEventListener("change", regroup);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (port) askForToken();
  });
  addEventListener("pagehide", () => (field.value = ""));

  // ── asking for a token ───────────────────────────────────────────────────────────────────────────────────────

  async function askForToken() {
    if (isAsking) return;
    if (!offer) return refuse("invalid-request");
    if (!codes.bare(field.value)) return refuse("code-missing");
    const code = codes.read(field.value);
    if (!code) return refuse("code-mistyped");
    calm();
    [isAsking, field.readOnly] = [true, true];
    form.setAttribute("aria-busy", "true");
    const answer = await askUntilAnswered({ code, nonce: NONCE, ...offer });
    [isAsking, field.readOnly] = [false, false];
    form.removeAttribute("aria-busy");
    if (answer.code_token) accept(answer);
    else refuse(answer.slug in SAYINGS ? answer.slug : "unreachable", answer);
  }

  /** A busy service is asked again before the shopper hears of it. Not all at the same moment. A captcha is good once. */
  async function askUntilAnswered(asked) {
    let solution = null;
    for (let tried = 1; ; tried += 1) {
      const answer = await ask(solution ? { ...asked, captcha: solution } : asked);
      const isToAskAgain = answer.slug === "busy" || answer.challenge;
      if (!isToAskAgain || tried === TRIES) return answer;
      if (answer.challenge) {
        done.textContent = "Checking that you are not a robot…";
        solution = await captcha.solve(answer.challenge);
        done.textContent = "";
        if (!solution) return answer;
        continue;
      }
      const wait_s = Math.min(answer.retry_after_s || 1, 8) * (0.5 + Math.random() / 2);
      await new Promise((resolve) => setTimeout(resolve, wait_s * 1000));
    }
  }

  /** The code token, or the slug of a refusal and how long to wait. */
  async function ask(asked) {
    try {
      const answer = await fetch(`${location.pathname}/code-tokens`, {
        method: "POST",
        headers: { "Content-Type": "application/json", Accept: "application/json" },
        body: JSON.stringify(asked),
        credentials: "omit",
        cache: "no-store",
        redirect: "error",
        signal: AbortSignal.timeout?.(PATIENCE_MS),
      });
      const { code_token, expires_in, slug, challenge } = await answer.json();
      if (answer.ok) return { code_token, expires_in };
      return { slug, challenge, retry_after_s: Number(answer.headers.get("Retry-After")) || undefined };
    } catch {
      return {};
    }
  }

  function accept({ code_token, expires_in }) {
    field.value = "";
    done.textContent = "Code accepted.";
    port.postMessage({ kind: "token", code_token, expires_in });
  }
})();
