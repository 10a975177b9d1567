// Digits drawn in the reader's browser: the network, guidance and DDIM of the
// package (llmnotes.diffusion), without a library. figures.js fetches this
// file when the reader first moves something, and it fetches the weights.

// -- Weights: a .safetensors file of 16-bit numbers ------------------------
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = bits >> 10 & 31, part = bits & 1023;
  return exponent === 0 ? sign * part * 2 ** -24
    : sign * (1 + part / 1024) * 2 ** (exponent - 15);
}

export function read(buffer) {
  const bytes = new DataView(buffer);
  const first = 8 + Number(bytes.getBigUint64(0, true));
  const head = JSON.parse(
    new TextDecoder().decode(new Uint8Array(buffer, 8, first - 8)));
  const weights = {};
  for (const [name, { data_offsets: place }] of Object.entries(head))
    if (place) weights[name] = Float32Array.from(
      { length: (place[1] - place[0]) / 2 },
      (_, i) => half(bytes.getUint16(first + place[0] + 2 * i, true)));
  return weights;
}

export async function load(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return read(await answer.arrayBuffer());
}

// -- The network: ddpm/network.py; values are float32, sums are wider ------
const round = Math.fround;
const silu = (v) => v / (1 + Math.exp(-v));

function linear(weights, name, x) {
  const matrix = weights[`${name}.weight`], bias = weights[`${name}.bias`];
  const y = new Float32Array(bias.length), width = x.length;
  for (let i = 0; i < y.length; i++) {
    let sum = bias[i];
    for (let j = 0; j < width; j++) sum += matrix[i * width + j] * x[j];
    y[i] = sum;
  }
  return y;
}

function normed(x) {
  const mean = x.reduce((a, b) => a + b, 0) / x.length;
  const spread = x.reduce((a, v) => a + (v - mean) ** 2, 0) / x.length;
  return x.map((v) => (v - mean) / Math.sqrt(spread + 1e-5));
}

// Angles reach 1,000, where float32 is coarse: rounded as torch rounds.
function sines(time, width) {
  const y = new Float32Array(width), half = width / 2;
  for (let i = 0; i < half; i++) {
    const slow = round(Math.exp(round(round(-Math.log(1e4)) * round(i / half))));
    const angle = round(round(1000 * round(time)) * slow);
    y[i] = Math.cos(angle);
    y[i + half] = Math.sin(angle);
  }
  return y;
}

export function network(weights, x, time, label) {
  const width = weights["norm.weight"].length;
  const narrow = weights["time.0.bias"].length;
  const row = weights["classes.weight"].subarray(label * narrow);
  const about = linear(weights, "time.2",
    linear(weights, "time.0", sines(time, narrow)).map(silu))
    .map((v, i) => silu(v + row[i]));
  let h = linear(weights, "read", x);
  for (let block = 0; `blocks.${block}.branch.0.bias` in weights; block++) {
    const name = `blocks.${block}`;
    const [shift, scale, gate] = [0, 1, 2].map((part) => linear(
      weights, `${name}.modulation`, about).subarray(part * width));
    const bent = normed(h).map((v, i) => v * (1 + scale[i]) + shift[i]);
    const said = linear(weights, `${name}.branch.2`,
      linear(weights, `${name}.branch.0`, bent).map(silu));
    h = h.map((v, i) => v + gate[i] * said[i]);
  }
  const gain = weights["norm.weight"], bias = weights["norm.bias"];
  return linear(weights, "write",
    normed(h).map((v, i) => v * gain[i] + bias[i]));
}

// -- Guidance: guidance/classifier_free.py; label 10 says nothing ----------
const NOTHING = 10;

export function guided(weights, x, time, label, scale) {
  const without = scale !== 1 && network(weights, x, time, NOTHING);
  const named = scale !== 0 && network(weights, x, time, label);
  return !without ? named : !named ? without
    : without.map((u, i) => u + scale * (named[i] - u));
}

// -- The cosine schedule, and DDIM on a part of its 1,000 steps ------------
const STEPS = 1000;

export function levels() {
  const bar = (t) => Math.cos((t / STEPS + .008) / 1.008 * Math.PI / 2) ** 2;
  const found = [{ alpha: 1, sigma: 0 }];
  for (let t = 1, left = 1; t <= STEPS; t++) {
    left *= 1 - Math.min(1 - bar(t) / bar(t - 1), .999);
    found.push({ alpha: Math.sqrt(left), sigma: Math.sqrt(1 - left) });
  }
  return found;
}

// From 1,000 on, in even steps; a half is rounded to the even neighbour.
export function times(count) {
  return [...Array(count).keys()].map((i) => {
    const t = STEPS - i * STEPS / count, up = Math.round(t);
    return up - t === .5 && up % 2 ? up - 1 : up;
  });
}

export function drawn(weights, noise, label, scale, count, at = levels()) {
  let x = Float32Array.from(noise);
  const visited = times(count);
  visited.forEach((t, i) => {
    const now = at[t], then = at[visited[i + 1] || 0];
    const guess = guided(weights, x, t / STEPS, label, scale)
      .map((v) => Math.min(1, Math.max(-1, v)));
    x = x.map((v, j) => then.alpha * guess[j] +
      then.sigma * (v - now.alpha * guess[j]) / now.sigma);
  });
  return x;
}

// -- Noise: Marsaglia's xorshift (2003), and Box and Muller's pairs (1958) -
export function normals(seed, count) {
  let state = Math.imul(seed, 2654435761) >>> 0 || 1;
  const uniform = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return ((state >>> 0) + .5) / 2 ** 32;
  };
  for (let i = 0; i < 20; i++) uniform();  // small seeds begin alike
  const found = [];
  while (found.length < count) {
    const far = Math.sqrt(-2 * Math.log(uniform()));
    const turn = 2 * Math.PI * uniform();
    found.push(far * Math.cos(turn), far * Math.sin(turn));
  }
  return found.slice(0, count);
}

// -- The figure: a row of digits for each scale ----------------------------
const GREYS = 15, SIDE = 8, APART = 10;

export const greys = (x) => Array.from(x, (v) =>
  Math.min(GREYS, Math.max(0, Math.round((v + 1) / 2 * GREYS))));

// One path for each grey, of runs along the rows: as figures/guidance.py.
function inked(group, pictures) {
  group.querySelectorAll("path").forEach((path, at) => {
    let line = "";
    pictures.forEach((picture, digit) => {
      for (let row = 0; row < SIDE; row++)
        for (let from = 0, to; from < SIDE; from = to) {
          const grey = picture[row * SIDE + from];
          for (to = from + 1; to < SIDE &&
            picture[row * SIDE + to] === grey;) to++;
          if (grey === at + 1) line += `M${digit * APART + from} ` +
            `${row}h${to - from}v1h-${to - from}z`;
        }
    });
    path.setAttribute("d", line);
  });
}

// Returns what draws all rows whose scale, steps or noise have changed; of
// two calls the later one ends the earlier.
export async function digits({ figure, numbers, inputs, say }) {
  const url = new URL(numbers.weights, import.meta.url);
  const weights = await load(url), at = levels();
  const pause = () => new Promise((go) => setTimeout(go));
  const state = (row, of) => [row === "own" ? of("scale") : row,
    of("steps"), of("seed")].map(Number);
  const before = (name) => inputs[name].defaultValue;
  const shown = new Map(numbers.rows.map(
    (row) => [row, state(row, before).join()]));
  let calls = 0;
  return async function () {
    const mine = ++calls, start = performance.now();
    const now = (name) => inputs[name].value;
    for (const row of numbers.rows) {
      const [scale, steps, seed] = state(row, now);
      const wanted = [scale, steps, seed].join();
      if (shown.get(row) === wanted) continue;
      const noise = normals(seed, 10 * SIDE * SIDE);
      const pictures = [];
      for (let digit = 0; digit < 10; digit++) {
        await pause();
        if (mine !== calls) return;
        const part = noise.slice(64 * digit, 64 * (digit + 1));
        pictures.push(greys(drawn(weights, part, digit, scale, steps, at)));
      }
      for (const group of figure.querySelectorAll(`[data-row="${row}"]`))
        inked(group, pictures);
      shown.set(row, wanted);
    }
    const spent = ((performance.now() - start) / 1000).toFixed(1);
    say(`Scale ${now("scale")}, ${now("steps")} steps, noise ` +
      `${now("seed")}: drawn in your browser, in ${spent} s.`);
  };
}
