// The demo's page: takes a photo and what to look for, asks the server, shows the answer.
"use strict";

const byId = (id) => document.getElementById(id);
const state = { photo: null, name: "", stem: "photo", models: [], limits: {}, address: null };

function say(text, isBad = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("bad", isBad);
}

async function ask(address, options) {
  const answer = await fetch(address, options);
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.detail || `the server says ${answer.status}`);
  return body;
}

function choosePhoto(file) {
  if (!file) return;
  if (file.size > state.limits.upload_bytes) {
    clearResult();
    say(`this file is larger than ${state.limits.upload_bytes >> 20} MB`, true);
    return;
  }
  state.photo = file;
  state.name = file.name;
  state.stem = file.name.replace(/\.[^.]*$/, "") || "photo";
  if (state.address) URL.revokeObjectURL(state.address);
  state.address = URL.createObjectURL(file);
  byId("preview").src = state.address;
  byId("preview").hidden = false;
  byId("invitation").textContent = `Photo: ${file.name}`;
  byId("go").disabled = false;
  say("");
}

function showModel() {
  const model = state.models.find((one) => one.name === byId("model").value);
  byId("text").disabled = !model.takes_text;
  const shown = model.classes.slice(0, 14).join(", ");
  const more = model.classes.length > 14 ? ` and ${model.classes.length - 14} more` : "";
  const knows = model.knows ? `${model.name} knows ${model.knows}. ` : "";
  byId("classes").textContent = knows + (model.takes_text
    ? `Any words; when empty: ${shown}${more}`
    : `Its classes: ${shown}${more}`);
  const task = byId("task").value;
  fillChoice(byId("task"), model.tasks);
  if (model.tasks.includes(task)) byId("task").value = task;
  showTask();
}

function showTask() { // labels of single pixels have no score
  const hasScores = byId("task").value !== "semantic";
  byId("score").disabled = !hasScores;
  byId("least").value = hasScores ? `${byId("score").value} %` : "none: labels have no score";
}

function clearResult() {
  byId("result").replaceChildren();
  delete byId("result").dataset.ready;
  byId("warnings").replaceChildren();
}

function showWarnings(lines) {
  byId("warnings").replaceChildren(...lines.map((line) => {
    const row = document.createElement("li");
    row.textContent = line;
    return row;
  }));
}

async function segment(event) {
  event.preventDefault();
  if (!state.photo || byId("go").disabled) return;
  byId("go").disabled = true;
  say("looking …");
  const wanted = new URLSearchParams({
    model: byId("model").value,
    task: byId("task").value,
    text: byId("text").disabled ? "" : byId("text").value,
    score: byId("score").value / 100,
    name: state.name,
  });
  try {
    const started = performance.now();
    const found = await ask(`api/segment?${wanted}`, {
      method: "POST",
      headers: { "Content-Type": "application/octet-stream" },
      body: state.photo,
    });
    clearResult();
    showSegments(byId("result"), { ...found, stem: state.stem });
    showWarnings(found.warnings);
    const count = Object.values(found.views)[0].length;
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    say(`${count} segment${count === 1 ? "" : "s"} in ${seconds} s`);
  } catch (error) {
    clearResult(); // of another photo, or another question
    say(error.message, true);
  }
  byId("go").disabled = false;
}

async function fillGallery() {
  const names = await ask("api/examples");
  names.forEach((name, number) => {
    const picture = new Image();
    picture.src = `api/examples/${number}`;
    picture.alt = name;
    const button = document.createElement("button");
    button.type = "button";
    button.title = name;
    button.append(picture, name);
    button.addEventListener("click", async () => {
      const content = await (await fetch(picture.src)).blob();
      const file = `${name.replaceAll(" ", "_")}.${content.type.split("/")[1] || "jpeg"}`;
      choosePhoto(new File([content], file, { type: content.type }));
      byId("form").requestSubmit();
    });
    byId("examples").append(button);
  });
  byId("gallery").hidden = names.length === 0;
}

function fillChoice(select, names) {
  select.replaceChildren(...names.map((name) => new Option(name, name)));
}

async function start() {
  const about = await ask("api/about");
  Object.assign(state, { models: about.models, limits: about.limits });
  fillChoice(byId("model"), about.models.map((one) => one.name));
  byId("text").maxLength = about.limits.text;
  showModel();
  await fillGallery();
  document.body.dataset.ready = "true";
}

byId("model").addEventListener("change", showModel);
byId("file").addEventListener("change", (event) => choosePhoto(event.target.files[0]));
byId("task").addEventListener("change", showTask);
byId("score").addEventListener("input", showTask);
byId("form").addEventListener("submit", segment);
for (const kind of ["dragover", "dragleave", "drop"]) {
  byId("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    byId("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") choosePhoto(event.dataTransfer.files[0]);
  });
}
start().catch((error) => say(error.message, true));
