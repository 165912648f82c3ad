// Solves a captcha by work, on several cores, until one of them has the number. Nobody has to see, hear or click anything.
"use strict";

const captcha = (() => {
  const WORKER = document.currentScript.dataset.worker;
  const MOST_CORES = 4;
  const PATIENCE_MS = 90000;

  /** What goes back as `captcha`; null when this browser cannot find it. */
  async function solve(challenge) {
    const cores = Math.min(navigator.hardwareConcurrency || 1, MOST_CORES);
    const workers = [];
    try {
      const solution = await new Promise((found, failed) => {
        setTimeout(failed, PATIENCE_MS);
        for (let core = 0; core < cores; core += 1) {
          const worker = new Worker(WORKER);
          workers.push(worker);
          worker.onmessage = ({ data }) => (data?.derivedKey ? found(data) : failed());
          worker.onerror = failed;
          worker.postMessage({ type: "work", challenge, counterStart: core, counterStep: cores, timeout: PATIENCE_MS });
        }
      });
      return btoa(JSON.stringify({ challenge, solution }));
    } catch {
      return null;
    } finally {
      for (const worker of workers) worker.terminate();
    }
  }

  return { solve };
})();
