// Search. The index (search/index.json: the prose of every page, section by
// section) is fetched and read when the field is first used. A word is found
// as it stands, by its stem, by its beginning, and where nothing else is, one
// or two letters off.
(function () {
  const box = document.querySelector(".find");
  if (!box) return;
  const field = box.querySelector("input");
  const said = box.querySelector("[role=status]");
  const list = box.querySelector("ol");
  const base = new URL(box.dataset.base.replace(/\/?$/, "/"), location);

  // Words of a text: "LayerNorm_2" is layernorm_2, and layer, norm and 2.
  const STOP = new Set(("a an and are as at be but by can do does for from " +
    "has have how i if in into is it its more my not of on one or so than " +
    "that the their them then there this to up was we what when where " +
    "which who why will with you your").split(" "));
  const stem = (word) => word.length < 4 || /\d/.test(word) ? word
    : word.replace(/(?<=...)(ies|ing|ed|es|s|e|y)$/, "");
  const whole = (text) => text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) || [];
  function words(text) {
    const found = whole(text);
    for (const part of text.split(/[^\p{L}\p{N}]+/u)) {
      const humps = part.split(/(?<=\p{Ll})(?=\p{Lu})|(?<=\p{L})(?=\p{N})/u);
      if (humps.length > 1) found.push(...humps.map((w) => w.toLowerCase()));
    }
    for (const word of [...found])
      if (word.includes("_")) found.push(...word.split("_").filter(Boolean));
    return found.map(stem);
  }

  // The index: stem -> Map(section -> how well it stands for the word).
  let ready = null;
  function read(pages) {
    const sections = [], index = new Map();
    for (const [url, title, part, own] of pages) {
      const page = { url, title, part };
      own.forEach(([anchor, heading, text, names], i) => {
        const section = { page, anchor, heading, text, first: i === 0 };
        section.named = words(heading).join(" ");
        section.plain = ` ${section.named} ${words(text).join(" ")} `;
        sections.push(section);
        const give = (source, weight, most) => {
          const times = new Map();
          for (const word of words(source))
            times.set(word, Math.min(most, (times.get(word) || 0) + 1));
          for (const [word, n] of times) {
            if (!index.has(word)) index.set(word, new Map());
            const at = index.get(word);
            at.set(section, (at.get(section) || 0) + weight * Math.sqrt(n));
          }
        };
        give(title, i === 0 ? 9 / Math.sqrt(words(title).length) : 1.5, 1);
        if (i > 0) give(heading, 6, 1);
        give(text, 1, 9);
        give(names, 1.5, 1);
      });
    }
    return { sections, index };
  }
  function load() {
    ready ||= fetch(new URL("search/index.json", base))
      .then((answer) => answer.json()).then(read);
    return ready;
  }

  // Whether a can be made b by so many letters changed, left out or swapped.
  function near(a, b, most) {
    if (Math.abs(a.length - b.length) > most) return false;
    let before = [], last = [...Array(b.length + 1).keys()];
    for (let i = 1; i <= a.length; i++) {
      const row = [i];
      for (let j = 1; j <= b.length; j++) {
        row[j] = Math.min(row[j - 1] + 1, last[j] + 1,
          last[j - 1] + (a[i - 1] !== b[j - 1]));
        if (a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
          row[j] = Math.min(row[j], before[j - 2] + 1);
      }
      [before, last] = [last, row];
    }
    return last[b.length] <= most;
  }
  function like(index, word) {
    const found = [...index.keys()].filter((w) => w.startsWith(word))
      .map((w) => [w, w === word ? 1 : 0.5]);
    if (found.length || word.length < 4) return found;
    const most = word.length < 8 ? 1 : 2;
    return [...index.keys()].filter((w) => w.length > 3 && near(word, w, most))
      .map((w) => [w, 0.4]);
  }

  // Pages, best first, each with its best sections.
  function search({ sections, index }, query) {
    let wanted = whole(query).filter((word) => !STOP.has(word));
    if (!wanted.length) wanted = whole(query);
    wanted = [...new Set(wanted.map(stem))];
    const scores = new Map(), seen = new Set();
    for (const word of wanted) {
      const best = new Map();
      for (const [term, share] of like(index, word)) {
        const at = index.get(term);
        const rare = Math.log(1 + sections.length / at.size);
        seen.add(term);
        for (const [section, weight] of at)
          best.set(section, Math.max(best.get(section) || 0,
            share * weight * rare));
      }
      for (const [section, score] of best) {
        const [sum, n] = scores.get(section) || [0, 0];
        scores.set(section, [sum + score, n + 1]);
      }
    }
    const phrase = words(query).join(" ");
    const pages = new Map();
    for (const [section, [sum, n]] of scores) {
      let score = sum * (n / wanted.length) ** 2;
      if (section.named === phrase) score *= 2;
      else if (section.plain.includes(` ${phrase} `)) score *= 1.4;
      if (!pages.has(section.page)) pages.set(section.page, []);
      pages.get(section.page).push({ section, score });
    }
    const found = [...pages].map(([page, hits]) => {
      hits.sort((a, b) => b.score - a.score);
      const [first, ...rest] = hits.map((hit) => hit.score);
      const more = rest.slice(0, 4).reduce((a, b) => a + b, 0);
      return { page, hits: hits.slice(0, 3), score: first + more / 10 };
    });
    found.sort((a, b) => b.score - a.score);
    return { found: found.slice(0, 12), seen };
  }

  // What is shown.
  function make(tag, name, ...inside) {
    const element = document.createElement(tag);
    if (name) element.className = name;
    element.append(...inside);
    return element;
  }
  const known = new Map(); // word -> its stems, each worked out once
  function meant(word, seen) {
    if (!known.has(word)) known.set(word, words(word));
    return known.get(word).some((w) => seen.has(w));
  }
  function marked(text, seen) {
    return text.split(/([\p{L}\p{N}_]+)/u).map((piece) =>
      piece && meant(piece, seen) ? make("mark", "", piece) : piece);
  }
  function excerpt(text, seen) {
    let at = 0;
    for (const found of text.matchAll(/[\p{L}\p{N}_]+/gu))
      if (meant(found[0], seen)) { at = found.index; break; }
    const start = at < 70 ? 0 : text.indexOf(" ", at - 60) + 1;
    const piece = text.slice(start, start + 150);
    return (start ? "… " : "") + (start + 150 < text.length
      ? piece.slice(0, piece.lastIndexOf(" ")) + " …" : piece);
  }
  function item({ page, hits }, seen) {
    const link = ({ section }) => {
      const to = new URL(page.url, base);
      to.hash = section.anchor;
      const a = make("a", section.first ? "page" : "section");
      a.href = to.href;
      const head = section.first ? page.title : section.heading;
      a.append(make("strong", "", ...marked(head, seen)));
      if (section.first && page.part) a.append(make("small", "", page.part));
      if (section.text) a.append(make("span", "",
        ...marked(excerpt(section.text, seen), seen)));
      return a;
    };
    const first = hits.find((hit) => hit.section.first);
    const others = hits.filter((hit) => hit !== first);
    const head = first || { section: { first: true, anchor: "", text: "" } };
    return make("li", "", link(head), ...others.map(link));
  }
  async function show() {
    const query = field.value.trim();
    const index = query && await load().catch(() => null);
    if (query !== field.value.trim()) return; // typed on meanwhile
    list.textContent = "";
    if (!query) return said.textContent = "";
    if (!index) return said.textContent = "The index could not be fetched.";
    const { found, seen } = search(index, query);
    list.append(...found.map((one) => item(one, seen)));
    said.textContent = found.length === 0 ? "Nothing found."
      : found.length === 1 ? "On one page" : `On ${found.length} pages`;
    list.dataset.query = query;
  }

  // Keys and focus.
  field.addEventListener("focus", load, { once: true });
  field.addEventListener("input", show);
  box.addEventListener("submit", (event) => {
    event.preventDefault();
    list.querySelector("a")?.click();
  });
  box.addEventListener("keydown", (event) => {
    const stops = [field, ...list.querySelectorAll("a")];
    const at = stops.indexOf(document.activeElement);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && at >= 0) {
      event.preventDefault();
      stops[Math.min(stops.length - 1, Math.max(0, at + step))].focus();
    }
    if (event.key === "Escape") document.activeElement.blur();
    event.stopPropagation(); // what is typed here turns no pages
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (!["/", "f", "s"].includes(event.key)) return;
    event.preventDefault();
    field.focus();
    field.select();
  });
  const asked = new URLSearchParams(location.search).get("q");
  if (asked) {
    field.value = asked;
    field.focus();
    show();
  }
})();
