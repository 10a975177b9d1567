// Figures that move (llmnotes._site.figures): a slider or a stepper shows one
// of the frames that lie in the picture, or a function below draws anew from
// the few numbers that the figure carries. Without this file a figure stands.
(function () {
  const here = document.currentScript.src;
  const radians = (degrees) => degrees * Math.PI / 180;
  const number = (value, digits) =>
    value.toFixed(digits).replace(/^-(?=[0.]+$)/, "").replace("-", "−");
  const place = (element, names, values) =>
    names.split(" ").forEach((name, i) =>
      element.setAttribute(name, +values[i].toFixed(2)));

  // Figure's name -> what draws it anew. Each is given the numbers that the
  // figure carries, its inputs by name, what shows words, and returns a
  // function of nothing that draws and says the state in words.
  const draws = {
    "attention:lookup": lookup,
    "guidance:demo": late("diffusion.js", "digits"),
    "rope:clocks": clocks,
    "sampling:bars": sampled,
  };

  // What needs a script of its own waits until something is moved, and then
  // fetches it. Its picture is the one of the first places of the sliders.
  function late(file, name) {
    return (given) => {
      for (const input of Object.values(given.inputs)) {
        input.value = input.defaultValue;  // browsers keep it on going back
        input.dispatchEvent(new Event("input"));
      }
      let ready = null;
      function draw() {
        ready ||= import(new URL(file, here)).then((it) => it[name](given));
        ready.then((begin) => begin(), () => {
          ready = null;  // the next try may succeed
          given.say("What draws could not be fetched.");
        });
        return "Drawing …";
      }
      draw.waits = true;
      return draw;
    };
  }

  // softmax(scale · q·k) over keys on a circle, and the mean of the keys.
  function attend(degrees, turn, scale) {
    const fit = degrees.map((d) => Math.exp(
      scale * (Math.cos(radians(d - turn)) - 1)));
    const sum = fit.reduce((a, b) => a + b);
    const weights = fit.map((f) => f / sum);
    const mean = (along) => weights.reduce(
      (a, w, i) => a + w * along(radians(degrees[i])), 0);
    return { weights, x: mean(Math.cos), y: mean(Math.sin) };
  }

  function lookup({ figure, numbers, inputs }) {
    const thick = 26;
    function draw() {
      const turn = +inputs.turn.value, scale = +inputs.scale.value;
      const { weights, x, y } = attend(numbers.degrees, turn, scale);
      for (const group of figure.querySelectorAll(".lookup")) {
        const r = +group.dataset.radius, back = radians(turn + 180);
        group.querySelectorAll(".pull").forEach((line, i) => {
          place(line, "x2 y2", [r * x, -r * y]);
          line.style.strokeWidth = `${(thick * weights[i]).toFixed(2)}px`;
        });
        const [hand, answer] = [".hand", ".answer"].map(
          (css) => group.querySelector(css));
        hand.setAttribute("transform", `rotate(${-turn})`);
        answer.setAttribute("transform", `translate(${r * x} ${-r * y})`);
        place(group.querySelector(".name"), "x y",
          [24 * Math.cos(back), -24 * Math.sin(back)]);
      }
      for (const group of figure.querySelectorAll(".bars")) {
        const long = +group.dataset.longest;
        const shares = group.querySelectorAll(".share");
        group.querySelectorAll(".bar").forEach((bar, i) => {
          place(bar, "width", [long * weights[i]]);
          place(shares[i], "x",
            [+bar.getAttribute("x") + 8 + long * weights[i]]);
          shares[i].textContent = `${number(100 * weights[i], 0)}%`;
        });
      }
      const order = weights.map((w, i) => [w, i + 1]).sort(
        (a, b) => b[0] - a[0] || a[1] - b[1]);
      const words = order.slice(0, 2).map(
        ([w, key]) => `key ${key} gives ${number(100 * w, 0)}%`);
      return `At ${turn}°, scale ${scale}: ${words.join(", ")}.`;
    }
    return draw;
  }

  // Turning the hand by dragging it sets the slider, which draws.
  function drag(figure, input) {
    for (const svg of figure.querySelectorAll("svg")) {
      const group = svg.querySelector(".lookup");
      const point = (e) => {
        const box = group.querySelector(".rim").getBoundingClientRect();
        const x = e.clientX - box.left - box.width / 2;
        const y = box.top + box.height / 2 - e.clientY;
        input.value = Math.round(
          (Math.atan2(y, x) * 180 / Math.PI + 360) % 360) % 360;
        input.dispatchEvent(new Event("input"));
      };
      const grip = group.querySelector(".grip");
      grip.addEventListener("pointerdown", (e) => {
        e.preventDefault();
        grip.setPointerCapture(e.pointerId);
        grip.addEventListener("pointermove", point);
      });
      for (const end of ["pointerup", "pointercancel"])
        grip.addEventListener(end, () =>
          grip.removeEventListener("pointermove", point));
    }
  }

  // The slice of a dial from one hand to the other, the shorter way round.
  function wedge(query, key, r) {
    const whole = 2 * Math.PI;
    const turn = ((query - key + Math.PI) % whole + whole) % whole - Math.PI;
    const [a, b] = [key, key + turn].map((t) =>
      `${(r * Math.cos(t)).toFixed(2)} ${(-r * Math.sin(t)).toFixed(2)}`);
    return `M0 0L${a}A${r} ${r} 0 0 ${turn > 0 ? 0 : 1} ${b}Z`;
  }

  function clocks({ figure, numbers, inputs }) {
    return function () {
      const key = +inputs.place.value, lag = +inputs.lag.value;
      const query = key + lag;
      const products = numbers.theta.map((t) => Math.cos(lag * t));
      figure.querySelectorAll(".clock").forEach((clock, at) => {
        const i = at % numbers.theta.length, theta = numbers.theta[i];
        for (const [css, angle] of [["query", query], ["key", key]])
          clock.querySelector(`.needle.${css}`).setAttribute("transform",
            `rotate(${(-angle * theta * 180 / Math.PI) % 360})`);
        clock.querySelector(".between").setAttribute("d",
          wedge(query * theta, key * theta, .6 * clock.dataset.radius));
        clock.querySelector(".product").textContent =
          `cos ${number(products[i], 2)}`;
      });
      const score = number(products.reduce((a, b) => a + b), 2);
      return `Query at ${query}, key at ${key}: the lag is ${lag}, ` +
        `the score ${score}.`;
    };
  }

  function start(box) {
    const figure = box.closest("figure");
    const numbers = JSON.parse(box.dataset.numbers);
    const state = box.querySelector(".state");
    const inputs = Object.fromEntries(
      [...box.querySelectorAll("input")].map((e) => [e.name, e]));
    const say = (words) => {
      if (state.textContent !== words) state.textContent = words;
    };

    function show(at) {
      for (const group of figure.querySelectorAll("[data-frame]"))
        if (group.dataset.frame.split(" ").includes(String(at)))
          group.removeAttribute("display");
        else group.setAttribute("display", "none");
      say(numbers.frames[at]);
    }

    if (inputs.frame) {
      inputs.frame.addEventListener("input", () => {
        inputs.frame.setAttribute(
          "aria-valuetext", numbers.frames[inputs.frame.value]);
        show(+inputs.frame.value);
      });
      show(+inputs.frame.value);
    }
    const stepper = box.querySelector(".stepper");
    if (stepper) step(stepper, numbers.frames.length, show);
    for (const input of box.querySelectorAll("input")) {
      const value = input.parentNode.querySelector(".value");
      const copy = () => { if (value) value.textContent = input.value; };
      input.addEventListener("input", copy);
      copy();
    }
    const buttons = [...box.querySelectorAll(".choices button")];
    buttons.forEach((button, at) => button.addEventListener("click", () => {
      for (const other of buttons)
        other.setAttribute("aria-pressed", other === button);
      show(at);
    }));
    const made = draws[box.dataset.figure];
    if (made) {
      const draw = made({ figure, numbers, inputs, say });
      for (const input of Object.values(inputs))
        input.addEventListener("input", () => say(draw()));
      if (figure.querySelector(".grip")) drag(figure, inputs.turn);
      if (!draw.waits)
        say(draw());  // browsers keep a slider's place on going back
    }
  }

  // Temperature, then top-k, top-p and min-p, each on what the one before has
  // left; `chances` go from the likeliest to the least.
  function filter(chances, { temperature, top_k, top_p, min_p }) {
    const norm = (list) => {
      const sum = list.reduce((a, b) => a + b);
      return list.map((c) => c / sum);
    };
    if (temperature === 0) return chances.map((c, i) => +(i === 0));
    let left = norm(chances.map((c) => (c / chances[0]) ** (1 / temperature)));
    left = norm(left.map((c, i) => i < top_k ? c : 0));
    let before = 0;
    left = norm(left.map((c) => {
      const kept = top_p === 1 || before < top_p ? c : 0;
      before += c;
      return kept;
    }));
    return norm(left.map((c) => c < min_p * left[0] ? 0 : c));
  }

  function sampled({ figure, numbers, inputs }) {
    return function () {
      const set = Object.fromEntries(
        Object.entries(inputs).map(([name, e]) => [name, +e.value]));
      const chances = filter(numbers.chances, set);
      for (const group of figure.querySelectorAll(".chances")) {
        const { tall, floor } = group.dataset;
        const shares = group.querySelectorAll(".share");
        group.querySelectorAll(".chance").forEach((bar, i) => {
          const high = tall * chances[i];
          const most = Math.max(chances[i], numbers.chances[i]);
          place(bar, "y height", [floor - high, high]);
          place(shares[i], "y", [floor - tall * most - 10]);
          shares[i].textContent = `${number(100 * chances[i], 0)}%`;
        });
      }
      const count = chances.filter((c) => c > 0).length;
      const some = count === chances.length ? `All ${count} characters` :
        count === 1 ? "One character" : `${count} characters`;
      return `${some} can be drawn; the likeliest has ` +
        `${number(100 * chances[0], 0)}%.`;
    };
  }

  function step(stepper, count, show) {
    const [back, next] = stepper.querySelectorAll("button");
    const place = stepper.querySelector("span");
    let at = parseInt(place.textContent.match(/\d+/)[0]) - 1;
    function move(by) {
      at = Math.min(Math.max(at + by, 0), count - 1);
      place.textContent = `step ${at + 1} of ${count}`;
      // Not `disabled`: the button that was pressed would lose the focus.
      back.setAttribute("aria-disabled", at === 0);
      next.setAttribute("aria-disabled", at === count - 1);
      show(at);
    }
    back.addEventListener("click", () => move(-1));
    next.addEventListener("click", () => move(1));
    move(0);
  }

  for (const box of document.querySelectorAll(".controls")) start(box);
})();
