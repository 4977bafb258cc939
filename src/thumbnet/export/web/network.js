// Runs a small image classifier: layers over Float32Arrays in (height, width, channels) order.
// Plain JavaScript, so that the page opens from a file, without a server, on any browser.
"use strict";

const Network = (() => {
  const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  function halfToFloat(half) {
    const sign = half & 0x8000 ? -1 : 1, exponent = (half >> 10) & 31, fraction = half & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }

  // Tensors are float16, or int8 with a float16 scale for each value of the last axis.
  function decode(tensor, blob) {
    const count = tensor.shape.reduce((product, size) => product * size, 1);
    const view = new DataView(blob.buffer, blob.byteOffset);
    const values = new Float32Array(count);
    if (tensor.dtype === "float16") {
      for (let at = 0; at < count; at++) values[at] = halfToFloat(view.getUint16(tensor.offset + 2 * at, true));
      return values;
    }
    const outputs = tensor.shape[tensor.shape.length - 1];
    for (let at = 0; at < count; at++) {
      const scale = halfToFloat(view.getUint16(tensor.scales + 2 * (at % outputs), true));
      values[at] = scale * view.getInt8(tensor.offset + at);
    }
    return values;
  }

  // Abramowitz and Stegun 7.1.26 with an error below 1.5e-7.
  function erf(x) {
    const t = 1 / (1 + 0.3275911 * Math.abs(x));
    const y = 1 - ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t * Math.exp(-x * x);
    return x < 0 ? -y : y;
  }

  const ACTIVATIONS = {
    linear: null,
    relu: (x) => (x > 0 ? x : 0),
    relu6: (x) => (x < 0 ? 0 : x > 6 ? 6 : x),
    silu: (x) => x / (1 + Math.exp(-x)),
    gelu: (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
    sigmoid: (x) => 1 / (1 + Math.exp(-x)),
    tanh: Math.tanh,
  };

  function activate(x, name) {
    const f = ACTIVATIONS[name];
    if (f) for (let at = 0; at < x.length; at++) x[at] = f(x[at]);
    return x;
  }

  // Offset of the first window before the first pixel, as in TensorFlow's "same" padding.
  function before(input, output, window, stride, padding) {
    if (padding === "valid") return 0;
    return Math.max(0, (output - 1) * stride + window - input) >> 1;
  }

  function convolve({ data, shape }, layer) {
    const [height, width, inputs] = shape, [rows, columns, outputs] = layer.output;
    const [windowRows, windowColumns] = layer.window, [strideRows, strideColumns] = layer.strides;
    const top = before(height, rows, windowRows, strideRows, layer.padding);
    const left = before(width, columns, windowColumns, strideColumns, layer.padding);
    const kernel = layer.weights[0], bias = layer.weights[1];
    const out = new Float32Array(rows * columns * outputs);
    if (bias) for (let at = 0; at < out.length; at += outputs) out.set(bias, at);
    for (let row = 0; row < rows; row++) {
      for (let kernelRow = 0; kernelRow < windowRows; kernelRow++) {
        const y = row * strideRows - top + kernelRow;
        if (y < 0 || y >= height) continue;
        for (let kernelColumn = 0; kernelColumn < windowColumns; kernelColumn++) {
          const weights = (kernelRow * windowColumns + kernelColumn) * inputs * outputs;
          // Four pixels at a time read each weight once.
          let column = Math.max(0, Math.ceil((left - kernelColumn) / strideColumns));
          const end = Math.min(columns, Math.floor((width - 1 + left - kernelColumn) / strideColumns) + 1);
          const step = strideColumns * inputs;
          for (; column + 4 <= end; column += 4) {
            const from = (y * width + column * strideColumns - left + kernelColumn) * inputs;
            const to = (row * columns + column) * outputs;
            const to1 = to + outputs, to2 = to1 + outputs, to3 = to2 + outputs;
            for (let input = 0, w = weights; input < inputs; input++, w += outputs) {
              const a = data[from + input], b = data[from + step + input];
              const c = data[from + 2 * step + input], d = data[from + 3 * step + input];
              for (let output = 0; output < outputs; output++) {
                const weight = kernel[w + output];
                out[to + output] += a * weight;
                out[to1 + output] += b * weight;
                out[to2 + output] += c * weight;
                out[to3 + output] += d * weight;
              }
            }
          }
          for (; column < end; column++) {
            const from = (y * width + column * strideColumns - left + kernelColumn) * inputs;
            const to = (row * columns + column) * outputs;
            for (let input = 0, w = weights; input < inputs; input++, w += outputs) {
              const a = data[from + input];
              for (let output = 0; output < outputs; output++) out[to + output] += a * kernel[w + output];
            }
          }
        }
      }
    }
    return activate(out, layer.activation);
  }

  function convolveDepthwise({ data, shape }, layer) {
    const [height, width, channels] = shape, [rows, columns] = layer.output;
    const [windowRows, windowColumns] = layer.window, [strideRows, strideColumns] = layer.strides;
    const top = before(height, rows, windowRows, strideRows, layer.padding);
    const left = before(width, columns, windowColumns, strideColumns, layer.padding);
    const [kernel, bias] = layer.weights;
    const out = new Float32Array(rows * columns * channels);
    if (bias) for (let at = 0; at < out.length; at += channels) out.set(bias, at);
    for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) {
      const to = (row * columns + column) * channels;
      for (let kernelRow = 0; kernelRow < windowRows; kernelRow++) {
        const y = row * strideRows - top + kernelRow;
        if (y < 0 || y >= height) continue;
        for (let kernelColumn = 0; kernelColumn < windowColumns; kernelColumn++) {
          const x = column * strideColumns - left + kernelColumn;
          if (x < 0 || x >= width) continue;
          const from = (y * width + x) * channels, w = (kernelRow * windowColumns + kernelColumn) * channels;
          for (let channel = 0; channel < channels; channel++) out[to + channel] += data[from + channel] * kernel[w + channel];
        }
      }
    }
    return activate(out, layer.activation);
  }

  function pool({ data, shape }, layer, average) {
    const [height, width, channels] = shape, [rows, columns] = layer.output;
    const [windowRows, windowColumns] = layer.window, [strideRows, strideColumns] = layer.strides;
    const top = before(height, rows, windowRows, strideRows, layer.padding);
    const left = before(width, columns, windowColumns, strideColumns, layer.padding);
    const out = new Float32Array(rows * columns * channels);
    for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) for (let channel = 0; channel < channels; channel++) {
      let found = average ? 0 : -Infinity, count = 0;
      for (let kernelRow = 0; kernelRow < windowRows; kernelRow++) for (let kernelColumn = 0; kernelColumn < windowColumns; kernelColumn++) {
        const y = row * strideRows - top + kernelRow, x = column * strideColumns - left + kernelColumn;
        if (y < 0 || y >= height || x < 0 || x >= width) continue;
        const value = data[(y * width + x) * channels + channel];
        found = average ? found + value : Math.max(found, value);
        count++;
      }
      out[(row * columns + column) * channels + channel] = average ? found / count : found;
    }
    return out;
  }

  function poolGlobally({ data, shape }, average) {
    const channels = shape[2], out = new Float32Array(channels).fill(average ? 0 : -Infinity);
    for (let at = 0; at < data.length; at++) {
      const channel = at % channels;
      out[channel] = average ? out[channel] + data[at] : Math.max(out[channel], data[at]);
    }
    if (average) for (let channel = 0; channel < channels; channel++) out[channel] /= data.length / channels;
    return out;
  }

  // Scale and offset of each channel: rescaling and batch normalisation.
  function scale({ data }, layer) {
    const [scales, offsets] = layer.weights, channels = scales.length, out = new Float32Array(data.length);
    for (let at = 0; at < data.length; at++) out[at] = data[at] * scales[at % channels] + offsets[at % channels];
    return out;
  }

  function pad({ data, shape }, layer) {
    const [height, width, channels] = shape, [, columns] = layer.output, [top, left] = layer.before;
    const out = new Float32Array(layer.output.reduce((product, size) => product * size));
    for (let row = 0; row < height; row++) {
      out.set(data.subarray(row * width * channels, (row + 1) * width * channels), ((row + top) * columns + left) * channels);
    }
    return out;
  }

  function dense({ data }, layer) {
    const [kernel, bias] = layer.weights, outputs = layer.output[0];
    const out = bias ? Float32Array.from(bias) : new Float32Array(outputs);
    for (let input = 0; input < data.length; input++) {
      const value = data[input], at = input * outputs;
      for (let output = 0; output < outputs; output++) out[output] += value * kernel[at + output];
    }
    return activate(out, layer.activation);
  }

  function softmax({ data }) {
    const highest = data.reduce((a, b) => Math.max(a, b)), raised = data.map((x) => Math.exp(x - highest));
    const sum = raised.reduce((a, b) => a + b);
    return raised.map((x) => x / sum);
  }

  const LAYERS = {
    convolution: convolve,
    depthwise: convolveDepthwise,
    max_pool: (x, layer) => pool(x, layer, false),
    average_pool: (x, layer) => pool(x, layer, true),
    global_max: (x) => poolGlobally(x, false),
    global_average: (x) => poolGlobally(x, true),
    scale,
    pad,
    dense,
    softmax,
    flatten: (x) => x.data,
    activation: (x, layer) => activate(Float32Array.from(x.data), layer.activation),
    add: (...inputs) => {
      inputs.pop();
      const out = Float32Array.from(inputs[0].data);
      for (const { data } of inputs.slice(1)) for (let at = 0; at < out.length; at++) out[at] += data[at];
      return out;
    },
  };

  // Turns the exported program into a function of the pixels, a Uint8Array in row-major RGB order.
  return function open(program, weights) {
    const blob = bytesOf(weights);
    const layers = program.layers.map((layer) => ({
      ...layer, weights: (layer.tensors ?? []).map((tensor) => decode(tensor, blob)),
    }));
    return (pixels) => {
      const values = new Map([["input", { data: Float32Array.from(pixels), shape: program.image_shape }]]);
      let last = values.get("input");
      for (const layer of layers) {
        const data = LAYERS[layer.kind](...layer.inputs.map((name) => values.get(name)), layer);
        last = { data, shape: layer.output };
        values.set(layer.name, last);
        for (const name of layer.last_use) values.delete(name);
      }
      return last.data;
    };
  };
})();
