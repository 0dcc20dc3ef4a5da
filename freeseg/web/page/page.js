// The demo's page: takes a photo and what to look for, asks the server, shows the answer.
"use strict";

const byId = (id) => document.getElementById(id);
const state = { photo: null, stem: "photo", models: [], limits: {}, address: null };

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
    say(`this file is larger than ${state.limits.upload_bytes >> 20} MB`, true);
    return;
  }
  state.photo = file;
  state.stem = file.name.replace(/\.[^.]*$/, "") || "photo";
  if (state.address) URL.revokeObjectURL(state.address);
  state.address = URL.createObjectURL(file);
  byId("preview").src = state.address;
  byId("preview").hidden = false;
  byId("invitation").textContent = file.name;
  byId("go").disabled = false;
  say("");
}

function showModel() {
  const model = state.models.find((one) => one.name === byId("model").value);
  byId("text").disabled = !model.takes_text;
  const shown = model.classes.slice(0, 14).join(", ");
  const more = model.classes.length > 14 ? ` and ${model.classes.length - 14} more` : "";
  byId("classes").textContent = model.takes_text
    ? `any words; when empty: ${shown}${more}`
    : `this model knows: ${shown}${more}`;
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
  });
  try {
    const started = performance.now();
    const found = await ask(`api/segment?${wanted}`, {
      method: "POST",
      headers: { "Content-Type": "application/octet-stream" },
      body: state.photo,
    });
    showSegments(byId("result"), { ...found, stem: state.stem });
    const count = Object.values(found.views)[0].length;
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    say(`${count} segment${count === 1 ? "" : "s"} in ${seconds} s`);
  } catch (error) {
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
    button.append(picture);
    button.addEventListener("click", async () => {
      const content = await (await fetch(picture.src)).blob();
      choosePhoto(new File([content], `${name}.jpg`, { type: content.type }));
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
  fillChoice(byId("task"), about.tasks);
  byId("text").maxLength = about.limits.text;
  showModel();
  await fillGallery();
  document.body.dataset.ready = "true";
}

byId("model").addEventListener("change", showModel);
byId("file").addEventListener("change", (event) => choosePhoto(event.target.files[0]));
byId("score").addEventListener("input", () => { byId("least").value = `${byId("score").value} %`; });
byId("form").addEventListener("submit", segment);
for (const kind of ["dragover", "dragleave", "drop"]) {
  byId("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    byId("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") choosePhoto(event.dataTransfer.files[0]);
  });
}
start().catch((error) => say(error.message, true));
