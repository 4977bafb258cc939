// Sends a picture to the service and shows the answer. No state outlives the tab.

const find = (id) => document.getElementById(id);
const TOKEN = "thumbnet-token";
// Real test images of CIFAR-10, and a picture of none of the model's classes.
const EXAMPLES = [
  ["cat", "a cat"], ["ship", "a ship"], ["frog", "a frog"], ["horse", "a horse"],
  ["automobile", "a car"], ["airplane", "an aeroplane"], ["unsure", "a picture it is unsure of"],
  ["tiles", "a pattern of tiles, which is none of its classes"],
];
const percent = (value) => (value > 0.9995 && value < 1 ? "> 99.9%" : `${(100 * value).toFixed(1)}%`);

let models = [];
let current = null; // the picture: a Blob with a name
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
  const [first] = models;
  const names = first.class_names;
  const shown = names.length > 12 ? `${names.slice(0, 10).join(", ")} and ${names.length - 10} more` : names.join(", ");
  find("knows").textContent = `The model knows ${names.length} classes: ${shown}. Show it a picture to see how confident it is and where it looked.`;
}

async function show(blob, name, example = null) {
  if (!models.length) await loadModels();
  current = { blob, name };
  const picture = find("picture");
  URL.revokeObjectURL(picture.src);
  picture.src = URL.createObjectURL(blob);
  picture.alt = `Your picture, ${name}`;
  picture.hidden = false;
  picture.onload = () => picture.classList.toggle("pixels", picture.naturalWidth <= 96);
  for (const button of find("examples").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button === example));
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
}

function showAnswers(answers) {
  find("empty").hidden = true;
  find("results").replaceChildren(...answers.map(cardOf));
  find("said").textContent = answers.map(sentenceOf).join(" ");
  find("call").hidden = false;
  find("curl").textContent = curlOf(answers[0].model);
  const top = find("answers").getBoundingClientRect().top;
  if (top > window.innerHeight * 0.7) {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    find("answers").scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
  }
}

const sentenceOf = ({ model, said }) => said.rejected
  ? `${titleOf(model)} is not sure; its best guess is ${said.class_name}, ${percent(said.probability)}.`
  : `${titleOf(model)} says ${said.class_name}, ${percent(said.probability)}.`;

function cardOf({ model, said, explained }) {
  const card = find("answer").content.cloneNode(true).firstElementChild;
  const part = (selector) => card.querySelector(selector);
  part(".model-name").textContent = titleOf(model);
  part(".engine").textContent = `computed by ${model.engine}`;
  part(".verdict").textContent = said.rejected ? "Not sure" : said.class_name;
  part(".sure").textContent = sureness(model, said);
  const [height, width] = model.image_shape;
  for (const image of card.querySelectorAll(".small-picture")) image.src = explained.seen;
  const size = `${width}\u00a0×\u00a0${height}\u00a0pixels`; // no line break inside
  part("figure img").alt = `The picture as the model sees it, ${size}`;
  part("figcaption").textContent = `What it sees: ${size}`;
  part(".looked img").alt = placeOf(explained.map, explained.class_name);
  drawHeat(part("canvas"), explained.map);
  const rows = Object.entries(said.probabilities).slice(0, 10).map(([name, probability]) => barOf(name, probability));
  part(".bars").replaceChildren(...rows);
  return card;
}

function sureness(model, said) {
  const second = Object.entries(said.probabilities)[1];
  if (said.rejected) {
    return `Its best guess is ${said.class_name}, but ${percent(said.probability)} is below the threshold of ${percent(model.reject_below)}.`;
  }
  const doubt = second && second[1] > 0.1 ? `, but it might be ${second[0]}` : "";
  return `${percent(said.probability)} sure${doubt}.`;
}

function placeOf(map, name) {
  const falls = map.flat();
  const best = falls.indexOf(Math.max(...falls));
  const rows = map.length;
  const third = (at) => Math.floor((3 * at) / rows);
  const place = `${["top", "middle", "bottom"][third(Math.floor(best / rows))]} ${["left", "centre", "right"][third(best % rows)]}`;
  return `Where it looked: covering the ${place} takes ${percent(Math.max(0, falls[best]))} from ${name}`;
}

function barOf(name, probability) {
  const row = document.createElement("li");
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

// A few large squares, drawn small and enlarged smoothly by the browser.
function drawHeat(canvas, map) {
  const most = Math.max(...map.flat(), 0.02);
  canvas.height = map.length;
  canvas.width = map[0].length;
  const context = canvas.getContext("2d");
  map.forEach((row, y) => row.forEach((fall, x) => {
    const heat = Math.max(0, fall) / most;
    context.fillStyle = `rgb(255 ${Math.round(90 + 150 * heat)} ${Math.round(40 + 110 * heat ** 3)} / ${(0.85 * heat).toFixed(3)})`;
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
  if (file) show(file, file.name || "picture.png");
  else if (files.length) showProblem(new Error("That is not an image file; choose a PNG, JPEG or WebP file."));
}

function offerExamples() {
  for (const [name, text] of EXAMPLES) {
    const button = document.createElement("button");
    const image = new Image();
    image.src = `page/examples/${name}.png`;
    image.alt = text;
    image.className = "pixels";
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    button.append(image);
    button.addEventListener("click", async () => {
      const response = await fetch(image.src);
      await show(await response.blob(), `${name}.png`, button);
    });
    const item = document.createElement("li");
    item.append(button);
    find("examples").append(item);
  }
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
for (const id of ["model", "other"]) find(id).addEventListener("change", answer);
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

offerExamples();
loadModels();
