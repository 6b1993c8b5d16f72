// Keeps the overview current: asks for the page again, and replaces what has changed. Without it, the page is as it was loaded.
"use strict";

const PAUSE_MS = 5000;
const LONGEST_MS = 60000;
let pauseMs = PAUSE_MS;

function isInUse(main) {
  return document.hidden || main.contains(document.activeElement) || String(document.getSelection()) !== "";
}

function show(page) {
  const before = [...document.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
  for (const name of ["main", "footer"]) {
    document.querySelector(name).replaceWith(document.adoptNode(page.querySelector(name)));
  }
  document.querySelectorAll(".scroll").forEach((each, index) => { each.scrollLeft = before[index] || 0; });
}

async function refresh() {
  const main = document.querySelector("main");
  if (isInUse(main)) return true;
  const answer = await fetch(location.href, { headers: { "If-None-Match": main.dataset.tag }, redirect: "error" });
  if (answer.status === 401 || answer.status === 403) {
    location.reload();
    return false;
  }
  if (answer.status === 304) return true;
  if (!answer.ok) throw new Error(answer.statusText);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (page.querySelector("main[data-tag]") && !isInUse(main)) show(page);
  return true;
}

async function tick() {
  try {
    if (!await refresh()) return;
    pauseMs = PAUSE_MS;
  } catch {
    pauseMs = Math.min(2 * pauseMs, LONGEST_MS);
  }
  setTimeout(tick, pauseMs);
}

setTimeout(tick, pauseMs);
