// Scrip's field for gift card codes on a store's page: the element <scrip-code>. The code itself stays in the frame
// from Scrip's origin; the page gets a code token. docs/widget.md says how to use it.
"use strict";

(() => {
  const ORIGIN = document.currentScript && new URL(document.currentScript.src).origin;
  if (!ORIGIN || customElements.get("scrip-code")) return;

  const PATIENCE_MS = 15000;
  const LOOKS = ["color", "muted", "background", "border", "accent", "error", "radius", "font-size"];
  const MOST_HEIGHT = 600;

  class ScripCode extends HTMLElement {
    static observedAttributes = ["store", "order", "amount", "currency", "shopper", "class", "style", "dir"];

    #frame = null;
    #port = null;
    #isReady = false;
    #isToShow = false;
    #late = 0;
    #darkness = matchMedia("(prefers-color-scheme: dark)");
    #showLater = () => this.#queueShow();

    constructor() {
      super();
      this.attachShadow({ mode: "open" });
      if (!("replaceSync" in CSSStyleSheet.prototype)) return; // iPhones of 2022: the page may say `display: block`
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(":host { display: block } :host([hidden]) { display: none }");
      this.shadowRoot.adoptedStyleSheets = [sheet];
    }

    /** Asks for a code token for what is in the field, as Enter does there. Answers by `token` or `error`. */
    tokenise() {
      if (this.#isReady) this.#port.postMessage({ kind: "tokenise" });
      else this.#tell("error", { slug: "not-ready", message: "The field has not been shown yet." });
    }

    connectedCallback() {
      this.#darkness.addEventListener("change", this.#showLater);
      this.#build();
    }

    disconnectedCallback() {
      this.#darkness.removeEventListener("change", this.#showLater);
      this.#drop();
    }

    attributeChangedCallback(name, before, after) {
      if (before === after || !this.#frame) return;
      if (name === "store") this.#build();
      else this.#queueShow();
    }

    #drop() {
      clearTimeout(this.#late);
      this.#port?.close();
      this.#frame?.remove();
      [this.#frame, this.#port, this.#isReady] = [null, null, false];
    }

    /** A frame for this store. A page whose origin the store has not named gets an empty one, and so no `ready`. */
    #build() {
      this.#drop();
      const frame = document.createElement("iframe");
      frame.title = "Gift card code";
      frame.allow = "";
      frame.referrerPolicy = "no-referrer";
      frame.sandbox = "allow-scripts allow-same-origin allow-forms";
      frame.src = `${ORIGIN}/widget/${encodeURIComponent(this.getAttribute("store") || "-")}`;
      const look = { display: "block", border: "0", width: "calc(100% + 8px)", margin: "-4px", height: "96px" };
      Object.assign(frame.style, { ...look, background: "transparent", maxWidth: "none" });
      frame.addEventListener("load", () => this.#connect(frame));
      this.#late = setTimeout(() => this.#sayLate(), PATIENCE_MS);
      this.#frame = frame;
      this.shadowRoot.append(frame);
    }

    #sayLate() {
      const message = "The field did not come. Is this page's origin one of the store's?";
      this.#tell("error", { slug: "not-ready", message });
    }

    /** Hands one end of a channel to our own origin in that frame. Nobody else can speak through it, or hear it. */
    #connect(frame) {
      if (frame !== this.#frame) return;
      const { port1, port2 } = new MessageChannel();
      this.#port?.close();
      [this.#port, this.#isReady] = [port1, false];
      port1.onmessage = ({ data }) => this.#hear(data);
      frame.contentWindow.postMessage({ scrip: "connect", ...this.#shown() }, ORIGIN, [port2]);
    }

    #hear(said) {
      if (said.kind === "ready") {
        clearTimeout(this.#late);
        this.#isReady = true;
        this.#tell("ready");
      } else if (said.kind === "height") {
        this.#frame.style.height = `${Math.min(Math.max(Number(said.height) || 0, 0), MOST_HEIGHT)}px`;
      } else if (said.kind === "token") {
        this.#tell("token", { code_token: said.code_token, expires_in: said.expires_in });
      } else if (said.kind === "error") {
        const waits = said.retry_after_s === undefined ? {} : { retry_after_s: said.retry_after_s };
        this.#tell("error", { slug: said.slug, message: said.message, ...waits });
      }
    }

    /** It does not bubble: an `error` that reached the window would be taken for a script's. */
    #tell(name, detail = null) {
      this.dispatchEvent(new CustomEvent(name, { detail }));
    }

    /** Several attributes that change at once are one change. */
    #queueShow() {
      if (this.#isToShow) return;
      this.#isToShow = true;
      queueMicrotask(() => {
        this.#isToShow = false;
        if (this.#isReady) this.#port.postMessage({ kind: "show", ...this.#shown() });
      });
    }

    #shown() {
      const [order, amount, currency, shopper] = ["order", "amount", "currency", "shopper"].map((name) => this.getAttribute(name));
      const style = getComputedStyle(this);
      const look = Object.fromEntries(LOOKS.map((name) => [name, style.getPropertyValue(`--scrip-${name}`).trim()]));
      return { order, amount, currency, shopper, look, scheme: this.#scheme(style.colorScheme), dir: style.direction };
    }

    /** The page's, not the machine's: a frame that differs from its page would get a background of its own. */
    #scheme(ofPage) {
      const isDark = ofPage.includes("dark") && (!ofPage.includes("light") || this.#darkness.matches);
      this.#frame.style.colorScheme = isDark ? "dark" : "light";
      return isDark ? "dark" : "light";
    }
  }

  customElements.define("scrip-code", ScripCode);
})();
