// The page: takes an image from a file, the clipboard or the camera, and shows the probabilities.
"use strict";

{
  const find = (id) => document.getElementById(id);
  const predict = Network(PROGRAM, WEIGHTS);
  const SHOWN = 5;
  let stream = null;
  let latest = null;

  const percent = (p) => (p > 0.9995 && p < 1 ? ">99.9%" : `${(100 * p).toFixed(1)}%`);

  function say(problem) {
    find("problem").hidden = !problem;
    find("problem").textContent = problem;
    if (problem) find("problem").scrollIntoView({ block: "nearest" });
  }

  function show() {
    const { seen, probabilities } = latest, [height, width, channels] = PROGRAM.image_shape;
    const ranked = Array.from(probabilities, (p, index) => [p, PROGRAM.class_names[index]]).sort((a, b) => b[0] - a[0]);
    const least = Number(find("least").value) / 100, [[best, name]] = ranked;
    find("least-shown").textContent = `${Math.round(100 * least)}%`;
    find("verdict").textContent = best < least
      ? `Not sure enough (${percent(best)}, needs ${Math.round(100 * least)}%). Best guess: ${name}.`
      : `${name}, ${percent(best)}`;
    find("bars").replaceChildren(...ranked.slice(0, SHOWN).map(([p, label]) => {
      const row = document.createElement("tr"), bar = document.createElement("i"), track = document.createElement("div");
      track.className = "track";
      bar.style.width = `${100 * p}%`;
      track.append(bar);
      const cells = ["th", "td", "td"].map((kind) => document.createElement(kind));
      cells[0].scope = "row";
      cells[0].textContent = label;
      cells[1].append(track);
      cells[2].textContent = percent(p);
      row.append(...cells);
      return row;
    }));
    const context = find("seen").getContext("2d"), image = context.createImageData(width, height);
    for (let at = 0; at < width * height; at++) {
      for (let channel = 0; channel < 3; channel++) image.data[4 * at + channel] = seen[at * channels + (channels === 3 ? channel : 0)];
      image.data[4 * at + 3] = 255;
    }
    context.putImageData(image, 0, 0);
    find("answer").hidden = false;
  }

  async function classify(source) {
    const { pixels, width, height } = await Pixels.read(source);
    const seen = Pixels.fit(pixels, width, height, PROGRAM.image_shape);
    latest = { seen, probabilities: predict(seen) };
    show();
  }

  async function take(file) {
    stopCamera();
    say("");
    const picture = find("picture");
    URL.revokeObjectURL(picture.src);
    picture.src = URL.createObjectURL(file);
    try {
      await classify(file);
      picture.hidden = false;
    } catch {
      picture.hidden = true;
      find("answer").hidden = true;
      say(`${file.name || "The image"} cannot be read. Use PNG, JPEG or WebP.`);
    }
  }

  function stopCamera() {
    stream?.getTracks().forEach((track) => track.stop());
    stream = null;
    find("video").hidden = true;
    find("camera").textContent = "Use the camera";
  }

  async function watch() {
    const video = find("video");
    while (stream) {
      if (video.videoWidth) await classify(video);
      await new Promise((resume) => setTimeout(resume, 150));
    }
  }

  find("camera").addEventListener("click", async () => {
    if (stream) return stopCamera();
    say("");
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch {
      return say("The camera cannot be used: allow it for this page, or choose an image.");
    }
    find("picture").hidden = true;
    find("video").hidden = false;
    find("video").srcObject = stream;
    await find("video").play();
    find("camera").textContent = "Stop the camera";
    await watch();
  });
  find("file").addEventListener("change", (event) => event.target.files[0] && take(event.target.files[0]));
  find("least").addEventListener("input", () => latest && show());
  addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
    if (file) take(file);
  });
  const drop = find("drop");
  for (const [name, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
    addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", over);
    });
  }
  addEventListener("drop", (event) => event.dataTransfer.files[0] && take(event.dataTransfer.files[0]));
}
