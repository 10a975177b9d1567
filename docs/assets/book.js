// Runs before Material's script, and mends what it leaves to be desired.

// 1. It fetches the search engine and the index, which is the whole book, on
//    every page. Here both wait until search is opened.
(function () {
  const wanted = new Promise(function (open) {
    if (new URLSearchParams(location.search).has("q")) open();
    for (const event of ["focusin", "change", "pointerover"])
      document.addEventListener(event, function (e) {
        if (e.target.closest(".md-search, #__search, [for=__search]")) open();
      });
    // "/", "f" and "s" open search from the keyboard.
    document.addEventListener("keydown", function (e) {
      if (["/", "f", "s"].includes(e.key)) open();
    });
  });

  const request = XMLHttpRequest.prototype;
  const { open, send } = request;
  request.open = function (method, url) {
    this.later = /search_index\.json$/.test(url);
    return open.apply(this, arguments);
  };
  request.send = function () {
    if (!this.later) return send.apply(this, arguments);
    wanted.then(() => send.apply(this, arguments));
  };

  const Engine = window.Worker;
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.engine = wanted.then(() => {
        const engine = new Engine(url);
        engine.addEventListener("message", (e) =>
          this.dispatchEvent(new MessageEvent("message", { data: e.data })));
        return engine;
      });
    }
    postMessage(message) {
      this.engine.then((engine) => engine.postMessage(message));
    }
  };
})();

document.addEventListener("DOMContentLoaded", function () {
  // 2. What scrolls sideways must be reached with Tab; what fits is no stop.
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

// 3. Copies a block of code, the folded imports too, without the prompts and
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
