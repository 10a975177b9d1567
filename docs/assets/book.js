// Runs before Material's script, and mends what it leaves to be desired.

document.addEventListener("DOMContentLoaded", function () {
  // 1. What scrolls sideways must be reached with Tab; what fits is no stop.
  const scrollers = "div.arithmatex, .md-typeset__scrollwrap";
  function reach() {
    for (const box of document.querySelectorAll(scrollers)) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  }

  // 2. Each copy button comes in a frame that claims to be a navigation.
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
