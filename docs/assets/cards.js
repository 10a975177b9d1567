// A number in a sentence opens a card that says where it comes from, a term
// of the glossary one that explains it. Without scripts a number is a link to
// its table (with a key held down, too), and a term has its title.
(function () {
  const card = document.createElement("div");
  card.className = "card";
  card.popover = "auto";
  card.setAttribute("role", "dialog");
  let from = null;

  function line(tag, text) {
    const made = document.createElement(tag);
    made.textContent = text;
    card.append(made);
    return made;
  }

  function fill(of) {
    card.replaceChildren();
    line("strong", of.textContent);
    if (of.matches("abbr")) {
      card.setAttribute("aria-label", "What this word means");
      line("p", of.title);
      return;
    }
    card.setAttribute("aria-label", "Where this number comes from");
    line("p", of.dataset.title);
    line("code", of.dataset.rows);
    line("small", of.dataset.run);
    line("a", "Its table").href = of.href;
  }

  function place(at) {
    const wide = document.documentElement.clientWidth;
    const left = Math.min(at.left, wide - card.offsetWidth - 8);
    const below = at.bottom + card.offsetHeight + 8 < innerHeight;
    const top = below ? at.bottom + 4 : at.top - card.offsetHeight - 4;
    card.style.left = `${Math.max(8, left) + scrollX}px`;
    card.style.top = `${Math.max(8, top) + scrollY}px`;
  }

  function show(of) {
    fill(of);
    from = of;
    of.after(card); // so that Tab goes on from the number into the card
    card.showPopover();
    place(of.getBoundingClientRect());
    const into = card.querySelector("a") ?? card;
    card.tabIndex = -1;
    into.focus({ preventScroll: true });
  }

  card.addEventListener("toggle", function (event) {
    if (event.newState === "closed" && card.contains(document.activeElement))
      from.focus({ preventScroll: true });
  });
  function asked(event) {
    const of = event.target.closest?.("a.num, abbr[title]");
    if (!of || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(of);
  }
  document.addEventListener("click", asked);
  document.addEventListener("keydown", function (event) {
    if (event.key === "Enter" && event.target.matches?.("abbr")) asked(event);
  });
  for (const term of document.querySelectorAll("article abbr[title]"))
    term.tabIndex = 0;
})();
