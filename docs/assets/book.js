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
  const scrollers = "div.arithmatex, .md-typeset__scrollwrap";
  function reach() {
    for (const box of document.querySelectorAll(scrollers)) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  }

  // 3. Each copy button comes in a frame that claims to be a navigation.
  function rename() {
    for (const frame of document.querySelectorAll("nav.md-code__nav"))
      frame.setAttribute("role", "none");
  }

  // A timer and not a frame: a page that is not drawn gets no frames.
  let due = 0;
  function mend() {
    due ||= setTimeout(() => { due = 0; rename(); reach(); });
  }
  new MutationObserver(mend).observe(
    document.querySelector(".md-content"), { childList: true, subtree: true });
  addEventListener("resize", mend);
  document.fonts.ready.then(mend);
  mend();
});
