// Sends an image to the service and shows the answer. No state outlives the tab.

const find = (id) => document.getElementById(id);
const TOKEN = "thumbnet-token";
// Photos of phones have more pixels than the service accepts and than a model uses.
const LONGEST_SIDE = 1024;
// The colours of thumbnet/figures/heat.py.
const HEAT = [[87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];
const percent = (value) => (value > 0.9995 && value < 1 ? "> 99.9%" : `${(100 * value).toFixed(1)}%`);

let models = [];
let current = null; // the image: a Blob with a name
let latest = 0; // only the answer to the latest request is shown

function headers() {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

async function ask(address, body) {
  let response;
  try {
    response = await fetch(address, { method: body ? "POST" : "GET", body, headers: headers() });
  } catch {
    throw new Error("The service cannot be reached. Is it still running?");
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const error = new Error(answer.error ?? `The service answered ${response.status}.`);
  error.unauthorized = response.status === 401;
  throw error;
}

const addressOf = (path, model, more = {}) =>
  `${path}?${new URLSearchParams({ model: model.name, version: model.version, ...more })}`;

function formOf(field) {
  const form = new FormData();
  form.append(field, current.blob, current.name);
  return form;
}

function chosen() {
  const at = (id) => models.find((model) => idOf(model) === find(id).value);
  return [at("model"), at("other")].filter((model, index, all) => model && all.indexOf(model) === index);
}

const idOf = (model) => `${model.name}/${model.version}`;
const titleOf = (model) =>
  models.some((other) => other.name === model.name && other.version !== model.version)
    ? `${model.name}, version ${model.version}` : model.name;

async function loadModels() {
  try {
    ({ models } = await ask("models"));
  } catch (error) {
    return showProblem(error);
  }
  if (!models.length) return showProblem(new Error("No model is loaded."));
  for (const id of ["model", "other"]) {
    const before = find(id).value;
    const options = models.map((model) => new Option(titleOf(model), idOf(model)));
    find(id).replaceChildren(...(id === "other" ? [new Option("none", "")] : []), ...options);
    if (models.some((model) => idOf(model) === before)) find(id).value = before;
  }
  find("choose").hidden = models.length < 2;
  if (!find("other").dataset.touched) {
    const second = models.find((model) => model.name !== models[0].name);
    find("other").value = second ? idOf(second) : "";
  }
  find("knows").textContent = `${knowledge()} Show an image to see how confident the model is and where it looked.`;
  await offerExamples();
}

// What each model can tell apart; models with the same classes share a sentence.
function knowledge() {
  const groups = new Map();
  for (const model of models) {
    const key = JSON.stringify(model.class_names);
    if (!groups.has(key)) groups.set(key, { names: model.class_names, titles: [] });
    groups.get(key).titles.push(titleOf(model));
  }
  return [...groups.values()].map(({ names, titles }) => {
    const shown = names.length > 12 ? `${names.slice(0, 10).join(", ")} and ${names.length - 10} more` : names.join(", ");
    const who = titles.length > 1 ? `${titles.slice(0, -1).join(", ")} and ${titles.at(-1)} know` : `${titles[0]} knows`;
    return `${who} ${names.length} classes: ${shown}.`;
  }).join(" ");
}

// An image with few enough pixels to be sent; one that the browser cannot read is left to the
// service, which says what is wrong with it.
async function shrunk(blob) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { imageOrientation: "from-image" });
  } catch {
    return blob;
  }
  const scale = LONGEST_SIDE / Math.max(bitmap.width, bitmap.height);
  if (scale >= 1) return blob;
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(scale * bitmap.width));
  canvas.height = Math.max(1, Math.round(scale * bitmap.height));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const type = blob.type === "image/jpeg" ? "image/jpeg" : "image/png";
  return await new Promise((resolve) => canvas.toBlob((small) => resolve(small ?? blob), type, 0.95));
}

async function show(given, name, example = null) {
  const mine = ++latest;
  if (!models.length) await loadModels();
  const blob = await shrunk(given);
  if (mine !== latest) return;
  current = { blob, name, truth: example?.truth };
  const image = find("image");
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(blob);
  image.alt = `Your image, ${name}`;
  image.hidden = false;
  image.onload = () => image.classList.toggle("pixels", image.naturalWidth <= 96);
  for (const button of find("examples").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button === example?.button));
  }
  await answer();
}

async function answer() {
  if (!current || !models.length) return;
  const mine = ++latest;
  find("problem").hidden = true;
  find("results").classList.add("waiting");
  const asked = chosen();
  try {
    const answers = await Promise.all(asked.map(async (model) => {
      const [said, explained] = await Promise.all([
        ask(addressOf("classify", model), formOf("files")),
        ask(addressOf("explain", model), formOf("file")),
      ]);
      return { model, said: said.results[0], explained };
    }));
    if (mine !== latest) return;
    showAnswers(answers);
  } catch (error) {
    if (mine !== latest) return;
    find("results").replaceChildren();
    showProblem(error);
  } finally {
    if (mine === latest) find("results").classList.remove("waiting");
  }
}

function showProblem(error) {
  find("empty").hidden = true;
  find("ask-token").hidden = !error.unauthorized;
  find("problem").hidden = Boolean(error.unauthorized);
  find("problem").textContent = error.message;
  if (error.unauthorized) find("token").focus();
  bringIntoView(find(error.unauthorized ? "ask-token" : "problem"));
}

// On a phone the answers are below the screen.
function bringIntoView(element) {
  const { top, bottom } = element.getBoundingClientRect();
  if (top >= 0 && top <= window.innerHeight * 0.7 && (bottom <= window.innerHeight || top < 100)) return;
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
}

function showAnswers(answers) {
  find("empty").hidden = true;
  const order = commonOrder(answers);
  find("results").replaceChildren(...answers.map((each) => cardOf(each, order)));
  find("said").textContent = answers.map(sentenceOf).join(" ");
  find("call").hidden = false;
  find("curl").textContent = curlOf(answers[0].model);
  if (find("answers").getBoundingClientRect().top > window.innerHeight * 0.7) bringIntoView(find("answers"));
}

const sentenceOf = ({ model, said }) => said.rejected
  ? `${titleOf(model)} is not sure; its best guess is ${said.class_name}, ${percent(said.probability)}.`
  : `${titleOf(model)} says ${said.class_name}, ${percent(said.probability)}.`;

// The same order of classes on all cards: by their mean probability.
function commonOrder(answers) {
  const sums = new Map();
  for (const { said } of answers) {
    for (const [name, probability] of Object.entries(said.probabilities)) {
      sums.set(name, (sums.get(name) ?? 0) + probability);
    }
  }
  return [...sums.keys()].sort((one, other) => sums.get(other) - sums.get(one));
}

function cardOf({ model, said, explained }, order) {
  const card = find("answer").content.cloneNode(true).firstElementChild;
  const part = (selector) => card.querySelector(selector);
  part(".model-name").textContent = titleOf(model);
  part(".engine").textContent = `computed by ${model.engine}${model.calibrated ? "" : ", uncalibrated"}`;
  part(".verdict").textContent = said.rejected ? "Not sure" : said.class_name;
  part(".sure").textContent = sureness(model, said);
  part(".truth").hidden = !current.truth;
  part(".truth").textContent = `True class: ${current.truth} ${current.truth === said.class_name ? "✓" : "✗"}`;
  const [height, width] = model.image_shape;
  for (const image of card.querySelectorAll(".small-image")) image.src = explained.seen;
  const size = `${width}\u00a0×\u00a0${height}\u00a0pixels`; // no line break inside
  part("figure img").alt = `The image as the model sees it, ${size}`;
  part("figcaption").textContent = `What it sees: ${size}`;
  part(".looked img").alt = placeOf(explained.map, explained.class_name);
  drawHeat(part("canvas"), explained.map);
  const rows = order.filter((name) => name in said.probabilities).slice(0, 10)
    .map((name) => barOf(name, said.probabilities[name], name === said.class_name));
  part(".bars").replaceChildren(...rows);
  return card;
}

function sureness(model, said) {
  const second = Object.entries(said.probabilities)[1];
  if (said.rejected) {
    return `Its best guess is ${said.class_name}, but ${percent(said.probability)} is below the threshold of ${percent(model.reject_below)}.`;
  }
  const doubt = second && second[1] > 0.1 ? `, but it might be ${second[0]}` : "";
  const caution = model.calibrated ? "" : " The model is uncalibrated, so this may be far too high or too low.";
  return `${percent(said.probability)} confident${doubt}.${caution}`;
}

function placeOf(map, name) {
  const falls = map.flat();
  const best = falls.indexOf(Math.max(...falls));
  const rows = map.length;
  const third = (at) => Math.floor((3 * at) / rows);
  const place = `${["top", "middle", "bottom"][third(Math.floor(best / rows))]} ${["left", "centre", "right"][third(best % rows)]}`;
  return `Where it looked: covering the ${place} lowers the probability of ${name} by ${percent(Math.max(0, falls[best]))}`;
}

function barOf(name, probability, isBest) {
  const row = document.createElement("li");
  row.className = isBest ? "best" : "";
  const make = (kind, className, text) => {
    const element = document.createElement(kind);
    element.className = className;
    element.textContent = text;
    return element;
  };
  const bar = make("span", "bar", "");
  const fill = document.createElement("i");
  fill.style.width = `${100 * probability}%`;
  bar.append(fill);
  const label = make("span", "name", name);
  label.title = name;
  row.append(label, bar, make("span", "probability", percent(probability)));
  return row;
}

// A few large squares, drawn small and smoothly enlarged by the browser.
function drawHeat(canvas, map) {
  const most = Math.max(...map.flat(), 0.02);
  canvas.height = map.length;
  canvas.width = map[0].length;
  const context = canvas.getContext("2d");
  map.forEach((row, y) => row.forEach((fall, x) => {
    const heat = Math.max(0, fall) / most;
    const at = heat * (HEAT.length - 1);
    const first = Math.min(Math.floor(at), HEAT.length - 2);
    const color = HEAT[first].map((value, channel) => Math.round(value + (at - first) * (HEAT[first + 1][channel] - value)));
    context.fillStyle = `rgb(${color.join(" ")} / ${(0.85 * Math.min(1, 2 * heat)).toFixed(3)})`;
    context.fillRect(x, y, 1, 1);
  }));
}

function curlOf(model) {
  const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const token = sessionStorage.getItem(TOKEN) ? ' -H "Authorization: Bearer $THUMBNET_TOKEN"' : "";
  return `curl -F ${quote(`files=@${current.name}`)}${token} ${quote(new URL(addressOf("classify", model), location.href).href)}`;
}

function take(files) {
  const file = [...files].find((each) => each.type.startsWith("image/"));
  if (file) show(file, file.name || "image.png");
  else if (files.length) showProblem(new Error("That is not an image file; choose a PNG, JPEG or WebP file."));
}

// Test images with their true class, where the first model has some to show.
async function offerExamples() {
  const [model] = chosen();
  const { examples } = model ? await ask(addressOf("examples", model)) : { examples: [] };
  find("examples-title").hidden = !examples.length;
  find("examples").replaceChildren(...examples.map(({ class_name, image }, number) => {
    const button = document.createElement("button");
    const thumbnail = new Image();
    thumbnail.src = image;
    thumbnail.alt = "";
    thumbnail.className = "pixels";
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    button.append(thumbnail, class_name ?? "none of these");
    button.addEventListener("click", () => {
      const bytes = Uint8Array.from(atob(image.split(",")[1]), (letter) => letter.charCodeAt(0));
      const blob = new Blob([bytes], { type: "image/png" });
      show(blob, `example-${number + 1}.png`, { button, truth: class_name });
    });
    const item = document.createElement("li");
    item.append(button);
    return item;
  }));
}

for (const id of ["file", "camera"]) {
  find(id).addEventListener("change", (event) => {
    take(event.target.files);
    event.target.value = ""; // so that the same file can be chosen again
  });
}
const drop = find("drop");
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  take(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) take(event.clipboardData.files);
});
for (const id of ["model", "other"]) {
  find(id).addEventListener("change", () => {
    find("other").dataset.touched = "yes";
    if (id === "model") offerExamples().catch(showProblem);
    answer();
  });
}
find("ask-token").addEventListener("submit", async (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, find("token").value);
  find("ask-token").hidden = true;
  await loadModels();
  await answer();
});
find("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(find("curl").textContent);
    find("copy").textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(find("curl"));
    find("copy").textContent = "Selected; press Ctrl+C";
  }
  setTimeout(() => { find("copy").textContent = "Copy"; }, 2000);
});

loadModels();
