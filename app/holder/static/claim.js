// The card holder's page in the browser: takes the key out of the address, and opens the link when the button is
// pressed, never before. Key and nonce stay in this tab's session storage until the code is on the screen.
"use strict";

(() => {
  const PAGE = /^\/claim\/(link_[0-7][0-9a-z]{25})/;
  const SECRET = /^[A-Za-z0-9_-]{43}$/;
  const TRIES = 4;
  const FIRST_WAIT_MS = 600;
  const PATIENCE_MS = 20000;

  const root = document.documentElement;
  const [base, linkId] = location.pathname.match(PAGE) || [];
  const shelf = `scrip:${linkId}`;
  let offer = null; // {key, nonce}

  // ── the key ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** 256 bits as 43 URL-safe characters. */
  function drawNonce() {
    const bytes = crypto.getRandomValues(new Uint8Array(32));
    return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  }

  /** Storage may be forbidden; then the tab must stay open, no more. */
  function remember() {
    try {
      sessionStorage.setItem(shelf, JSON.stringify(offer));
    } catch {}
  }

  function recall() {
    try {
      const kept = JSON.parse(sessionStorage.getItem(shelf));
      return kept && SECRET.test(kept.key) && SECRET.test(kept.nonce) ? kept : null;
    } catch {
      return null;
    }
  }

  function forget() {
    offer = null;
    try {
      sessionStorage.removeItem(shelf);
    } catch {}
  }

  /** The same key keeps its nonce: by it the server knows the browser whose answer was lost. */
  function takeUp(key) {
    const kept = recall();
    offer = kept && kept.key === key ? kept : { key, nonce: drawNonce() };
    remember();
  }

  /** Before anything is drawn: whatever stands after the # leaves the address bar and the tab's history. */
  function takeKeyFromAddress() {
    const key = location.hash.slice(1);
    if (location.href.includes("#")) history.replaceState(null, "", location.pathname);
    if (linkId && SECRET.test(key)) takeUp(key);
    else offer = recall();
    return key;
  }

  // ── asking the server ────────────────────────────────────────────────────────────────────────────────────────

  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

  /** The answer as a page, or without one when none came whole or the server was busy. */
  async function ask(url, fields) {
    const posted = fields && { method: "POST", body: JSON.stringify(fields) };
    const headers = { Accept: "text/html", ...(fields && { "Content-Type": "application/json" }) };
    try {
      const signal = AbortSignal.timeout?.(PATIENCE_MS);
      const answer = await fetch(url, { ...posted, headers, signal, credentials: "same-origin", cache: "no-store" });
      if (answer.status >= 500) return { busy: true, again: Number(answer.headers.get("Retry-After")) * 1000 || 0 };
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      return page.querySelector("main .stage") ? { ok: answer.ok, status: answer.status, page } : { again: 0 };
    } catch {
      return { again: 0 };
    }
  }

  /** Opening a link may be asked again with the same nonce: a lost answer costs nothing. A captcha is good once. */
  async function askUntilAnswered(url, fields, button) {
    let solution = null;
    for (let tried = 1; ; tried += 1) {
      const answer = await ask(url, solution ? { ...fields, captcha: solution } : fields);
      const challenge = answer.page?.querySelector(".stage").dataset.captcha;
      if ((answer.page && !challenge) || tried === TRIES) return answer;
      if (challenge) solution = await solve(JSON.parse(challenge), button);
      else await wait(Math.min(Math.max(answer.again, FIRST_WAIT_MS * 2 ** (tried - 1)), 8000));
      if (challenge && !solution) return answer;
    }
  }

  /** Whoever waits is told for what. */
  async function solve(challenge, button) {
    button.textContent = "Checking for robots…";
    say("Checking that you are not a robot. This takes a moment.");
    const solution = await captcha.solve(challenge);
    button.textContent = "One moment…";
    return solution;
  }

  // ── showing ──────────────────────────────────────────────────────────────────────────────────────────────────

  const stage = () => document.querySelector(".stage");

  function say(words) {
    const said = document.getElementById("said");
    said.textContent = "";
    setTimeout(() => (said.textContent = words), 60);
  }

  /** Puts the answer in the place of this page, and the focus on its heading, so that it is read out. */
  function show(page) {
    document.querySelector("main").replaceWith(document.adoptNode(page.querySelector("main")));
    document.title = page.title;
    const kind = stage().dataset.page;
    history.replaceState({ shown: kind === "claimed" || kind === "card" }, "", base);
    root.dataset.key = offer ? "yes" : "no";
    showTimes();
    scrollTo(0, 0);
    stage().querySelector("h1").focus({ preventScroll: true });
  }

  /** A moment in the browser's own zone; the UTC time stays in the datetime attribute. */
  function showTimes() {
    const language = (navigator.languages || []).find((name) => name.startsWith("en")) || "en-GB";
    const format = (at, how) => new Intl.DateTimeFormat(language, how).format(at);
    const isDay = (at, other) => at.toDateString() === other.toDateString();
    const now = new Date();
    for (const shown of document.querySelectorAll("time[data-show]")) {
      const at = new Date(shown.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      const date = format(at, { day: "numeric", month: "long", year: "numeric" });
      const day = isDay(at, now) ? "today" : date;
      shown.textContent = shown.dataset.show === "day" ? date : `${day} at ${format(at, { timeStyle: "short" })}`;
      shown.title = format(at, { dateStyle: "full", timeStyle: "long" });
    }
  }

  function complain(words, near) {
    const place = (near && near.closest("section, .stage-words").querySelector(".alert")) || stage().querySelector(".alert");
    place.hidden = false;
    place.textContent = words;
  }

  function calm() {
    for (const place of document.querySelectorAll(".alert")) place.hidden = true;
  }

  async function whileBusy(button, doing) {
    if (button.getAttribute("aria-busy") === "true") return;
    const words = button.textContent;
    calm();
    button.setAttribute("aria-busy", "true");
    button.textContent = "One moment…";
    say("One moment, please");
    try {
      await doing();
    } finally {
      button.removeAttribute("aria-busy");
      button.textContent = words;
    }
  }

  const UNREACHED = "We could not reach Scrip. Nothing is lost: check your connection, then press the button again.";
  const BUSY = "Many people are here at once. Nothing is lost: wait some seconds, then press the button again.";

  // ── what can be pressed ──────────────────────────────────────────────────────────────────────────────────────

  async function openLink(button) {
    const answer = await askUntilAnswered(base, offer, button);
    if (!answer.page) return complain(answer.busy ? BUSY : UNREACHED, button);
    show(answer.page);
    if (answer.ok || answer.status === 404) forget();
    if (answer.ok) say("Your code is on the screen");
  }

  /** A fresh code or a new link. A refusal must not take away the code or the card on the screen. */
  async function send(form, button) {
    const answer = await ask(form.action, Object.fromEntries(new FormData(form)));
    if (!answer.page) return complain(answer.busy ? BUSY : UNREACHED, button);
    const comesLater = answer.status === 429 || answer.status === 403;
    if (answer.ok || !(comesLater || stage().dataset.page === "claimed")) {
      show(answer.page);
      if (answer.status === 202) forget();
      if (stage().dataset.page === "claimed") say("Your fresh code is on the screen");
    } else {
      const why = answer.page.querySelector("[data-why]").textContent.replace(/\s+/g, " ").trim();
      complain(`${answer.page.querySelector("h1").textContent}. ${why}`, button);
    }
  }

  /** A whole link or the key alone; another card's link is opened on its own page. */
  function openPasted(form, button) {
    const pasted = form.elements.key.value.replace(/\s+/g, "");
    const key = pasted.slice(pasted.lastIndexOf("#") + 1);
    const other = pasted.match(/\/claim\/(link_[0-7][0-9a-z]{25})#/);
    form.elements.key.setAttribute("aria-invalid", String(!SECRET.test(key)));
    if (!SECRET.test(key)) {
      complain("This is not a whole link: it ends with a # and 43 letters, digits, dashes or underscores.", button);
      form.elements.key.focus();
    } else if (other && other[1] !== linkId) {
      location.assign(`/claim/${other[1]}#${key}`);
    } else {
      takeUp(key);
      whileBusy(button, () => openLink(button));
    }
  }

  async function copyCode(button) {
    const code = stage().querySelector("[data-code]");
    const copied = await navigator.clipboard.writeText(code.textContent.trim()).then(() => true, () => copySelected(code));
    if (!copied) return say("The code is selected: copy it with your keyboard");
    button.textContent = "Copied";
    say("Code copied");
    setTimeout(() => (button.textContent = "Copy code"), 2500);
  }

  function copySelected(code) {
    getSelection().selectAllChildren(code);
    return document.execCommand("copy");
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.matches("[data-open]")) whileBusy(button, () => openLink(button));
    if (button.matches("[data-copy]")) copyCode(button);
  });

  document.addEventListener("submit", (event) => {
    const form = event.target;
    const button = form.querySelector("button");
    event.preventDefault();
    if (form.dataset.act === "claim") openPasted(form, button);
    else whileBusy(button, () => send(form, button));
  });

  // ── beginning ────────────────────────────────────────────────────────────────────────────────────────────────

  /** After a reload of the page that had shown the code: the card's state, while the short session lives. */
  async function showCardAgain() {
    const answer = await ask(`${base}/card`);
    if (answer.page && (answer.ok || answer.status === 410)) show(answer.page);
    else root.dataset.key = "no";
  }

  const wasShown = Boolean(history.state && history.state.shown);
  const broken = takeKeyFromAddress();
  root.classList.add("js");
  root.dataset.key = offer ? "yes" : wasShown ? "wait" : "no";

  addEventListener("hashchange", () => {
    takeKeyFromAddress();
    location.reload();
  });

  document.addEventListener("DOMContentLoaded", () => {
    showTimes();
    if (root.dataset.key === "wait") showCardAgain();
    else if (!offer && broken && linkId) {
      complain("The link is incomplete: a part after the # is missing. Paste all of it.", document.querySelector(".paste"));
    }
  });
})();
