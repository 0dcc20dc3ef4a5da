// Shows a photo with its segments: they can be switched off one by one, and the one under the
// pointer is named. Works on what viewer_data in freeseg/visualization/html.py returns.
"use strict";

const FIGURES = "score · share of the photo";

function showSegments(root, data) {
  const state = { task: Object.keys(data.views)[0], opacity: 0.55, hidden: new Map(), lit: null };
  const make = (tag, properties = {}, children = []) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const segments = () => data.views[state.task];
  const hiddenNow = () => {
    if (!state.hidden.has(state.task)) state.hidden.set(state.task, new Set());
    return state.hidden.get(state.task);
  };

  const canvas = make("canvas", { width: data.width, height: data.height });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "the photo with its segments");
  const tip = make("div", { className: "tip", hidden: true });
  const list = make("ul", { className: "rows" });
  const photo = new Image();
  const layers = new Map(); // segment -> canvas of its box in its colour

  function layerOf(segment) {
    if (!layers.has(segment)) {
      const [, , width, height] = segment.box;
      const layer = make("canvas", { width, height });
      const context = layer.getContext("2d");
      const pixels = context.createImageData(width, height);
      const words = new Uint32Array(pixels.data.buffer);
      const [red, green, blue] = segment.color;
      const word = (255 << 24) | (blue << 16) | (green << 8) | red;
      for (let i = 0; i < segment.runs.length; i += 2) {
        words.fill(word, segment.runs[i], segment.runs[i] + segment.runs[i + 1]);
      }
      context.putImageData(pixels, 0, 0);
      layers.set(segment, layer);
    }
    return layers.get(segment);
  }

  function holds(segment, x, y) {
    const [left, top, width, height] = segment.box;
    if (x < left || y < top || x >= left + width || y >= top + height) return false;
    const place = (y - top) * width + (x - left);
    let low = 0;
    let high = segment.runs.length / 2 - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const start = segment.runs[2 * middle];
      if (place < start) high = middle - 1;
      else if (place >= start + segment.runs[2 * middle + 1]) low = middle + 1;
      else return true;
    }
    return false;
  }

  function draw() {
    const context = canvas.getContext("2d");
    context.globalAlpha = 1;
    context.drawImage(photo, 0, 0, data.width, data.height);
    segments().forEach((segment, index) => {
      if (hiddenNow().has(index)) return;
      context.globalAlpha = index === state.lit ? Math.min(1, state.opacity + 0.3) : state.opacity;
      context.drawImage(layerOf(segment), segment.box[0], segment.box[1]);
    });
    [...list.children].forEach((row, index) => row.classList.toggle("lit", index === state.lit));
  }

  function caption(segment) {
    const score = segment.score === null ? "" : ` ${Math.round(100 * segment.score)} %`;
    return segment.name + score;
  }

  function light(index) {
    if (index === state.lit) return;
    state.lit = index;
    draw();
  }

  function point(event) {
    const frame = canvas.getBoundingClientRect();
    const x = Math.floor(((event.clientX - frame.left) / frame.width) * data.width);
    const y = Math.floor(((event.clientY - frame.top) / frame.height) * data.height);
    let found = null;
    segments().forEach((segment, index) => { // later ones are on top
      if (!hiddenNow().has(index) && holds(segment, x, y)) found = index;
    });
    light(found);
    tip.hidden = found === null;
    if (found === null) return;
    tip.textContent = caption(segments()[found]);
    const half = tip.offsetWidth / 2;
    const across = Math.min(Math.max(event.clientX - frame.left, half), frame.width - half);
    tip.style.left = `${across}px`;
    tip.style.top = `${Math.max(event.clientY - frame.top, 1.4 * tip.offsetHeight)}px`;
  }

  function fillList() {
    const whole = data.width * data.height;
    list.replaceChildren(...segments().map((segment, index) => {
      const box = make("input", { type: "checkbox", checked: !hiddenNow().has(index) });
      box.addEventListener("change", () => {
        if (box.checked) hiddenNow().delete(index);
        else hiddenNow().add(index);
        draw();
      });
      const swatch = make("span", { className: "swatch" });
      swatch.style.background = `rgb(${segment.color.join(",")})`;
      const score = segment.score === null ? "" : `${Math.round(100 * segment.score)} % · `;
      const share = `${((100 * segment.area) / whole).toFixed(1)} %`;
      const row = make("li", {}, [make("label", {}, [
        box, swatch,
        make("span", { className: "name", textContent: segment.name }),
        make("span", { className: "figure", textContent: score + share, title: FIGURES }),
      ])]);
      row.addEventListener("pointerenter", () => light(index));
      row.addEventListener("pointerleave", () => light(null));
      return row;
    }));
    if (!segments().length) list.append(make("li", {}, [
      make("label", { textContent: "nothing was found" }),
    ]));
  }

  function choose(task) {
    state.task = task;
    state.lit = null;
    tip.hidden = true;
    for (const button of tabs.children) {
      button.setAttribute("aria-pressed", String(button.dataset.task === task));
    }
    fillList();
    draw();
  }

  function setAll(visible) {
    hiddenNow().clear();
    if (!visible) segments().forEach((_, index) => hiddenNow().add(index));
    fillList();
    draw();
  }

  function offer(blob, name) {
    const link = make("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  function button(text, act) {
    const element = make("button", { type: "button", textContent: text });
    element.addEventListener("click", act);
    return element;
  }

  const tabs = make("div", { className: "row tabs" }, Object.keys(data.views).map((task) => {
    const tab = button(task, () => choose(task));
    tab.dataset.task = task;
    return tab;
  }));
  tabs.hidden = tabs.children.length < 2;
  const opacity = make("input", { type: "range", min: 0, max: 100, value: 100 * state.opacity });
  opacity.addEventListener("input", () => { state.opacity = opacity.value / 100; draw(); });
  const savePicture = button("PNG", () => {
    light(null);
    canvas.toBlob((blob) => offer(blob, `${data.stem}_segments.png`), "image/png");
  });
  const saveCoco = button("COCO (zip)", () => {
    const bytes = Uint8Array.from(atob(data.archive.split(",")[1]), (one) => one.charCodeAt(0));
    offer(new Blob([bytes], { type: "application/zip" }), `${data.stem}_coco.zip`);
  });
  saveCoco.hidden = !data.archive; // labels of single pixels are none of COCO's
  savePicture.title = "download the picture as it is shown";
  saveCoco.title = "download the segments: JSON, and the PNG that it points to";

  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("pointerdown", point); // a tap, where nothing hovers
  canvas.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse") { tip.hidden = true; light(null); }
  });
  root.replaceChildren(make("div", { className: "viewer" }, [
    make("div", { className: "stage" }, [canvas, tip]),
    make("div", { className: "side" }, [
      tabs,
      ...(data.remarks || []).map((line, index, lines) => make("p", {
        className: data.unsure && index === lines.length - 1 ? "unsure" : "hint", textContent: line,
      })),
      make("div", { className: "row" }, [
        button("show all", () => setAll(true)), button("hide all", () => setAll(false)),
      ]),
      make("label", { className: "hint" }, ["Opacity of the segments ", opacity]),
      make("div", { className: "segments" }, [
        make("div", { className: "heading" }, [
          make("span", { textContent: "segment" }), make("span", { textContent: FIGURES }),
        ]),
        list,
      ]),
      make("div", { className: "row" }, [savePicture, saveCoco]),
    ]),
  ]));
  photo.addEventListener("load", () => {
    choose(state.task);
    root.dataset.ready = "true";
  });
  photo.src = data.image;
}
