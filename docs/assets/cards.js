// A number in a sentence opens a card that says where it comes from. Without
// scripts, or with a key held down, it is a link to its table.
(function () {
  const card = document.createElement("div");
  card.className = "card";
  card.popover = "auto";
  card.setAttribute("role", "dialog");
  card.setAttribute("aria-label", "Where this number comes from");
  let from = null;

  function line(tag, text) {
    const made = document.createElement(tag);
    made.textContent = text;
    card.append(made);
    return made;
  }

  function show(number) {
    card.replaceChildren();
    line("strong", number.textContent);
    line("p", number.dataset.title);
    line("code", number.dataset.rows);
    line("small", number.dataset.run);
    line("a", "Its table").href = number.href;
    number.after(card); // so that Tab goes on from the number into the card
    from = number;
    card.showPopover();
    const at = number.getBoundingClientRect();
    const wide = document.documentElement.clientWidth;
    const left = Math.min(at.left, wide - card.offsetWidth - 8);
    const below = at.bottom + card.offsetHeight + 8 < innerHeight;
    const top = below ? at.bottom + 4 : at.top - card.offsetHeight - 4;
    card.style.left = `${Math.max(8, left) + scrollX}px`;
    card.style.top = `${Math.max(8, top) + scrollY}px`;
    card.querySelector("a").focus({ preventScroll: true });
  }

  card.addEventListener("toggle", function (event) {
    if (event.newState === "closed" && card.contains(document.activeElement))
      from.focus({ preventScroll: true });
  });
  document.addEventListener("click", function (event) {
    const number = event.target.closest?.("a.num");
    if (!number || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(number);
  });
})();
