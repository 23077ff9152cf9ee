"use strict";
// Filter as one types: every word must stand in the migration. The search is kept in the address, so that it can be sent.
const all = [...document.querySelectorAll("details.migration")].map(node => ({node, text: node.textContent.toLowerCase()}));
const q = document.getElementById("q"), verdict = document.getElementById("verdict"), count = document.getElementById("count");
function search() {
  const words = q.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const {node, text} of all) {
    const fits = words.every(w => text.includes(w)) && (!verdict.value || node.dataset.verdicts.split(" ").includes(verdict.value));
    node.hidden = !fits;
    shown += fits;
  }
  count.textContent = `${shown} of ${all.length}`;
  document.getElementById("none").hidden = shown > 0;
  const parts = new URLSearchParams();
  if (q.value) parts.set("q", q.value);
  if (verdict.value) parts.set("verdict", verdict.value);
  history.replaceState(null, "", parts.size ? `#${parts}` : location.pathname + location.search);
}
function restore() {
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (named && named.tagName === "DETAILS") { named.open = true; named.scrollIntoView(); count.textContent = `${all.length} of ${all.length}`; return; }
  const parts = new URLSearchParams(location.hash.slice(1));
  q.value = parts.get("q") || "";
  verdict.value = parts.get("verdict") || "";
  search();
}
q.addEventListener("input", search);
verdict.addEventListener("change", search);
document.getElementById("search").addEventListener("submit", event => event.preventDefault());
document.getElementById("open").addEventListener("click", event => {
  const open = event.target.textContent === "open all";
  for (const {node} of all) if (!node.hidden) node.open = open;
  event.target.textContent = open ? "close all" : "open all";
});
window.addEventListener("hashchange", restore);
restore();
