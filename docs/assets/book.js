// Runs before Material's script, and mends what it leaves to be desired.

document.addEventListener("DOMContentLoaded", function () {
  // 1. What scrolls sideways must be reached with Tab; what fits is no stop.
  const scrollers = "div.arithmatex, .md-typeset__scrollwrap, pre > code";
  function reach() {
    for (const box of document.querySelectorAll(scrollers)) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  }

  // A timer and not a frame: a page that is not drawn gets no frames.
  let due = 0;
  function mend() {
    due ||= setTimeout(() => { due = 0; reach(); });
  }
  new MutationObserver(mend).observe(
    document.querySelector(".md-content"), { childList: true, subtree: true });
  addEventListener("resize", mend);
  document.fonts.ready.then(mend);
  mend();
});

// 2. Copies a block of code, the folded imports too, without the prompts and
//    outputs of a terminal. Where the page may not write, it selects.
(function () {
  const spoken = document.createElement("div");
  spoken.className = "spoken";
  spoken.role = "status";
  document.body.append(spoken);

  function source(block) {
    const codes = [...block.querySelectorAll("pre > code")].map((code) => {
      const copy = code.cloneNode(true);
      for (const aside of copy.querySelectorAll(".gp, .go")) aside.remove();
      return copy.textContent;
    });
    return codes.join("");
  }

  document.addEventListener("click", async function (event) {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const block = button.closest(".highlight");
    try {
      await navigator.clipboard.writeText(source(block));
    } catch {
      getSelection().selectAllChildren(block.querySelector(":scope > pre"));
      return;
    }
    button.classList.add("done");
    spoken.textContent = "Copied";
    setTimeout(() => {
      button.classList.remove("done");
      spoken.textContent = "";
    }, 2000);
  });
})();
