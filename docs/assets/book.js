// What a page needs of scripts, in the place of Material's: palette, contents
// that follow, drawer, tabs, keys, copying. Nothing here draws; without
// scripts all is there to be read.

// 1. The palette. A script in the header has set it before the first paint; a
//    click that came before this file did is made good.
(function () {
  const options = [...document.getElementsByName("__palette")];
  const system = matchMedia("(prefers-color-scheme: dark)");
  const scheme = (option) => option.dataset.mdColorScheme;

  function show(chosen) {
    chosen.checked = true;
    document.body.dataset.mdColorScheme = scheme(chosen);
    for (const option of options)
      option.nextElementSibling.hidden = option !== chosen;
  }
  function choose(chosen) {
    show(chosen);
    __md_set("__palette", {
      index: options.indexOf(chosen), color: { scheme: scheme(chosen) },
    });
  }
  for (const option of options) {
    option.addEventListener("change", () => choose(option));
    option.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      const other = options.find((one) => one.nextElementSibling.hidden);
      choose(other);
      other.focus();
    });
  }
  system.addEventListener("change", () => {
    if (!__md_get("__palette")) show(options[system.matches ? 1 : 0]);
  });
  const clicked = options.find((option) => option.checked);
  if (clicked && scheme(clicked) !== document.body.dataset.mdColorScheme)
    choose(clicked);
})();

// 2. The contents mark the section that is read; the header its page.
(function () {
  const links = document.querySelectorAll(".md-nav--secondary a[href^='#']");
  const entries = [...links].map((link) =>
    [link, document.getElementById(decodeURIComponent(link.hash.slice(1)))]);
  const frame = document.querySelector(
    ".md-sidebar--secondary .md-sidebar__scrollwrap");
  const topic = document.querySelector(".md-header__title");
  const title = document.querySelector("h1");
  let marked = null, due = false;

  function follow() {
    due = false;
    if (title) topic.classList.toggle(
      "md-header__title--active", title.getBoundingClientRect().bottom < 48);
    let current = null;
    for (const [link, heading] of entries)
      if (heading?.getBoundingClientRect().top < innerHeight / 4)
        current = link;
    if (current === marked) return;
    marked?.classList.remove("md-nav__link--active");
    current?.classList.add("md-nav__link--active");
    marked = current;
    if (!current || !frame) return;
    const at = current.offsetTop - frame.scrollTop;
    if (at < 0 || at > frame.clientHeight - 40)
      frame.scrollTop = current.offsetTop - frame.clientHeight / 2;
  }
  addEventListener("scroll", () => {
    if (!due) requestAnimationFrame(follow);
    due = true;
  }, { passive: true });
  requestAnimationFrame(follow);
})();

// 3. The drawer closes behind who follows a link in it.
document.addEventListener("click", (event) => {
  if (event.target.closest?.(".md-sidebar a"))
    document.getElementById("__drawer").checked = false;
});

// 4. Tabs of one name are one choice, kept for the next page.
document.addEventListener("change", (event) => {
  if (!event.target.matches(".tabbed-set > input")) return;
  const name = (input) =>
    document.querySelector(`label[for="${input.id}"]`).innerText.trim();
  const chosen = name(event.target);
  const top = event.target.getBoundingClientRect().top;
  for (const input of document.querySelectorAll(".tabbed-set > input"))
    if (name(input) === chosen) input.checked = true;
  scrollBy(0, event.target.getBoundingClientRect().top - top);
  const kept = (__md_get("__tabs") || []).filter((one) => one !== chosen);
  __md_set("__tabs", [chosen, ...kept]);
});

// 5. "p" and "n" turn the pages.
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, textarea, select, [contenteditable]") ||
      event.ctrlKey || event.metaKey || event.altKey) return;
  const rel = { p: "prev", ",": "prev", n: "next", ".": "next" }[event.key];
  const link = rel && document.querySelector(`link[rel=${rel}]`);
  if (link) location.href = link.href;
});

// 6. What scrolls sideways must be reached with Tab; what fits is no stop.
//    Each frame is measured when it comes into the window, not before: what is
//    far below is not even laid out.
(function () {
  const seen = new Set();
  function reach(box) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
  const arrives = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) seen.add(target);
      else seen.delete(target);
    }
    seen.forEach(reach);
  });
  for (const box of document.querySelectorAll(
    "div.arithmatex, .md-typeset__scrollwrap, pre > code"))
    arrives.observe(box);
  addEventListener("resize", () => seen.forEach(reach));
  document.fonts.addEventListener("loadingdone", () => seen.forEach(reach));
})();

// 7. Copies a block of code, the folded imports too, without the prompts and
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

  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("button.copy");
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
