// A shopper at the hosted checkout: what a browser would keep and send, without a browser.

import assert from "node:assert/strict";
import { issuer } from "./service.mjs";

export const REDIRECT_URI = "https://shop.example/back";

const hidden = (page) =>
  Object.fromEntries(
    [...page.matchAll(/<input type="hidden" name="(\w+)" value="([^"]*)">/g)].map(([, name, value]) => [name, value]),
  );

/** Opens the page; what is returned posts the form that it shows. */
export const openPage = async (url) => {
  let answer = await fetch(url, { redirect: "manual" });
  const cookie = (answer.headers.get("set-cookie") ?? "").split(";")[0];
  let page = await answer.text();
  return {
    status: answer.status,
    headers: answer.headers,
    page: () => page,
    /** Posts what the page offers with these fields; the address that it leads to, or undefined when it stays. */
    send: async (fields) => {
      const body = new URLSearchParams({ ...hidden(page), ...fields });
      const headers = { cookie, origin: issuer.origin };
      answer = await fetch(url, { method: "POST", body, headers, redirect: "manual" });
      const location = answer.headers.get("location");
      if (location && !new URL(location, url).href.startsWith(issuer.href)) {
        assert.equal(answer.status, 303);
        return new URL(location);
      }
      page = await (await fetch(url, { headers: { cookie } })).text();
      return undefined;
    },
  };
};

/** The address that a shopper comes back to the store with, who has typed this card's code. */
export const pay = async (url, code) => (await openPage(url)).send({ action: "code", code });

export const details = (amount = "30.00", more = {}) =>
  JSON.stringify([
    {
      type: "giftcard_payment",
      actions: ["settle"],
      instructed_amount: { currency: "GBP", amount },
      order: "123",
      ...more,
    },
  ]);
