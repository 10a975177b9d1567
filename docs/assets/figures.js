// Figures that move (llmnotes._site.figures): a slider or a stepper shows one
// of the frames that lie in the picture, or a function below draws anew from
// the few numbers that the figure carries. Without this file a figure stands.
(function () {
  const draws = {};  // figure's name -> (tools) => state in words

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
      show(+inputs.frame.value);  // browsers keep a slider on going back
    }
    const stepper = box.querySelector(".stepper");
    if (stepper) step(stepper, numbers.frames.length, show);
    const buttons = [...box.querySelectorAll(".choices button")];
    buttons.forEach((button, at) => button.addEventListener("click", () => {
      for (const other of buttons)
        other.setAttribute("aria-pressed", other === button);
      show(at);
    }));
    const draw = draws[box.dataset.figure];
    if (draw) draw({ figure, numbers, inputs, say });
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
