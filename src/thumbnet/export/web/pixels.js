// Converts any image to the pixels that the network takes, in the same way as Pillow: the same crop,
// the same fixed-point Lanczos filter and the same grey. The browser decodes JPEG.
"use strict";

const Pixels = (() => {
  const BITS = 22; // of the fixed-point weights of Pillow's resampling
  const SUPPORT = 3;
  const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
  const lanczos = (x) => (-SUPPORT <= x && x < SUPPORT ? sinc(x) * sinc(x / SUPPORT) : 0);

  function weightsOf(size, start, end, outputs) {
    const scale = (end - start) / outputs, stretch = Math.max(scale, 1), support = SUPPORT * stretch;
    return Array.from({ length: outputs }, (_, output) => {
      const centre = start + (output + 0.5) * scale;
      const first = Math.max(0, Math.trunc(centre - support + 0.5));
      const last = Math.min(size, Math.trunc(centre + support + 0.5));
      const raw = Array.from({ length: last - first }, (_, at) => lanczos((at + first - centre + 0.5) / stretch));
      const sum = raw.reduce((a, b) => a + b, 0);
      return { first, weights: raw.map((w) => Math.trunc((w / sum) * 2 ** BITS + (w / sum < 0 ? -0.5 : 0.5))) };
    });
  }

  const clip = (sum) => Math.min(255, Math.max(0, Math.floor(sum / 2 ** BITS)));

  function resizeRows(pixels, width, height, channels, windows) {
    const out = new Uint8ClampedArray(height * windows.length * channels);
    for (let row = 0; row < height; row++) windows.forEach(({ first, weights }, column) => {
      for (let channel = 0; channel < channels; channel++) {
        let sum = 2 ** (BITS - 1);
        for (let at = 0; at < weights.length; at++) sum += pixels[(row * width + first + at) * channels + channel] * weights[at];
        out[(row * windows.length + column) * channels + channel] = clip(sum);
      }
    });
    return out;
  }

  function resizeColumns(pixels, width, channels, windows) {
    const out = new Uint8ClampedArray(windows.length * width * channels);
    windows.forEach(({ first, weights }, row) => {
      for (let at = 0; at < width * channels; at++) {
        let sum = 2 ** (BITS - 1);
        for (let line = 0; line < weights.length; line++) sum += pixels[(first + line) * width * channels + at] * weights[line];
        out[row * width * channels + at] = clip(sum);
      }
    });
    return out;
  }

  // RGB pixels, centre-cropped to the aspect ratio of (height, width) and resized.
  function fit(pixels, width, height, [rows, columns, channels]) {
    let out = pixels;
    if (width !== columns || height !== rows) {
      const ratio = columns / rows;
      const cropWidth = width / height > ratio ? ratio * height : width;
      const cropHeight = width / height < ratio ? width / ratio : height;
      const left = (width - cropWidth) * 0.5, top = (height - cropHeight) * 0.5;
      const across = weightsOf(width, left, left + cropWidth, columns);
      const down = weightsOf(height, top, top + cropHeight, rows);
      out = resizeColumns(resizeRows(pixels, width, height, 3, across), columns, 3, down);
    }
    if (channels === 3) return Uint8Array.from(out);
    return Uint8Array.from({ length: rows * columns }, (_, at) =>
      (out[3 * at] * 19595 + out[3 * at + 1] * 38470 + out[3 * at + 2] * 7471 + 0x8000) >> 16);
  }

  // A file or a video frame as RGB on white, rotated according to its EXIF orientation.
  async function read(source) {
    const bitmap = await createImageBitmap(source, { imageOrientation: "from-image", colorSpaceConversion: "none" });
    const { width, height } = bitmap;
    const context = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d", { willReadFrequently: true });
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
    const { data } = context.getImageData(0, 0, width, height);
    const pixels = new Uint8Array(width * height * 3);
    for (let at = 0; at < width * height; at++) for (let channel = 0; channel < 3; channel++) pixels[3 * at + channel] = data[4 * at + channel];
    return { pixels, width, height };
  }

  return { fit, read };
})();
