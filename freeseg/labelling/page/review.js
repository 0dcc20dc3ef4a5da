"use strict";
// Photos that are left out are kept in the browser, for all pages of a data set.
const photos = document.getElementById("photos");
const cards = [...photos.children];
const key = "left out of " + photos.dataset.set;
let leftOut = new Set();
try {
  leftOut = new Set(JSON.parse(localStorage.getItem(key) || "[]"));
} catch { /* a browser that keeps nothing: this page's list still can be saved */ }

function show() {
  for (const card of cards) {
    card.setAttribute("aria-pressed", String(leftOut.has(card.dataset.name)));
  }
  document.getElementById("count").textContent = leftOut.size;
}

function toggle(card) {
  const name = card.dataset.name;
  if (!leftOut.delete(name)) leftOut.add(name);
  try {
    localStorage.setItem(key, JSON.stringify([...leftOut]));
  } catch { /* as above */ }
  show();
}

for (const card of cards) {
  card.addEventListener("click", () => toggle(card));
  card.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    toggle(card);
  });
}

document.getElementById("class").addEventListener("change", (event) => {
  const wanted = event.target.value;
  for (const card of cards) {
    const classes = JSON.parse(card.dataset.classes);
    card.hidden = wanted === "-" ? classes.length > 0
      : wanted !== "" && !classes.includes(wanted.slice(1));
  }
});

document.getElementById("order").addEventListener("change", (event) => {
  const byScore = event.target.value === "score";
  const ordered = byScore ? [...cards].sort((a, b) => a.dataset.score - b.dataset.score) : cards;
  photos.append(...ordered);
});

document.getElementById("save").addEventListener("click", () => {
  const text = [...leftOut].map((name) => name + "\n").join("");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  link.download = "left_out.txt";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
});

show();
