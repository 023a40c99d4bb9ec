// Samples: a page at a time, as filtered. Everything that a model or a task says is set as text.
const samples = JSON.parse(document.getElementById("samples").textContent);
const LENGTHS = ["10", "25", "50", "100"]; // samples on a page
const SIZES = { small: "5rem", medium: "10rem", large: "20rem", "as large as it is": "auto" };
const FILTERS = { all: () => true, wrong: (fate) => fate === "w", unparsed: (fate) => fate === "u", "not scored": (fate) => fate === "n" };

const make = (tag, text, className) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
};
const choice = (name, options) => {
  const label = make("label", name);
  const select = make("select");
  for (const [value, text] of options) {
    const option = make("option", text);
    option.value = value;
    select.append(option);
  }
  label.append(select);
  return [label, select];
};
const card = (task, item, place, only) => {
  const article = make("article", undefined, "sample");
  article.append(make("h4", item.id, "spec"));
  item.images.forEach((source, number) => {
    const image = make("img");
    image.src = source;
    image.alt = `Image ${number + 1} of sample ${item.id}`;
    article.append(image);
  });
  if (item.question) article.append(make("p", item.question, "said question"));
  if (item.truth) {
    const truth = make("p", undefined, "said truth");
    truth.append(make("b", "Truth"), ` ${item.truth}`);
    article.append(truth);
  }
  const table = make("table");
  const head = table.createTHead().insertRow();
  for (const name of ["model", "raw output", "parsed", "score"]) {
    const cell = make("th", name);
    cell.scope = "col";
    head.append(cell);
  }
  const body = table.createTBody();
  item.answers.forEach(([output, parsed, score], model) => {
    if (only >= 0 && only !== model) return;
    const row = body.insertRow();
    if (task.fates[model][place] !== "r") row.className = "wrong";
    const name = make("th");
    name.scope = "row";
    name.append(make("span", task.models[model], "spec"));
    row.append(name, make("td", output, "said"), make("td", parsed ?? "as the output", "said"), make("td", score));
  });
  const scroll = make("div", undefined, "scroll");
  scroll.setAttribute("role", "group");
  scroll.setAttribute("aria-label", `Answers to ${item.id}`);
  scroll.tabIndex = 0;
  scroll.append(table);
  article.append(scroll);
  return article;
};
// What became of every answer is known from the beginning; samples are read when they are shown.
const held = async (task) => ({ ...task, get: async (places) => places.map((place) => task.items[place]) });
// Those of a site are in scripts beside it, since a page that was opened from a disk may not fetch. Each hands over its
// part by this name.
const arrived = {};
window.samplesRead = (name, value) => (arrived[name] = value);
const load = (folder, name) =>
  new Promise((resolve, reject) => {
    const script = make("script");
    script.src = `${folder}/${name}.js`;
    script.onload = () => (resolve(arrived[name]), delete arrived[name], script.remove());
    script.onerror = () => reject(new Error(`${folder}/${name}.js cannot be read`));
    document.head.append(script);
  });
const KEPT = 100; // parts
const stored = async ({ folder }) => {
  const { starts, ...index } = await load(folder, "index");
  const parts = new Map();
  const get = async (place) => {
    const after = starts.findIndex((start) => start > place);
    const number = (after < 0 ? starts.length : after) - 1;
    if (!parts.has(number)) parts.set(number, load(folder, number));
    if (parts.size > KEPT) parts.delete(parts.keys().next().value);
    return (await parts.get(number))[place - starts[number]];
  };
  return { ...index, get: (places) => Promise.all(places.map(get)) };
};

const browser = (box, task) => {
  const controls = make("div", undefined, "controls");
  const [showLabel, show] = choice("Show", [...Object.keys(FILTERS), "models disagree"].map((name) => [name, name]));
  const [modelLabel, model] = choice("of", [["-1", "any model"], ...task.models.map((name, i) => [String(i), name])]);
  const [sizeLabel, size] = choice("Images", Object.keys(SIZES).map((name) => [name, name]));
  size.value = "medium";
  const [lengthLabel, length] = choice("Samples on a page", LENGTHS.map((name) => [name, name]));
  const [back, next] = [make("button", "Back"), make("button", "Next")];
  for (const button of [back, next]) button.type = "button";
  const [pageLabel, pageText, page] = [make("label"), make("span"), make("input")];
  Object.assign(page, { type: "number", min: 1 });
  pageLabel.append(pageText, page);
  const count = make("output");
  controls.append(showLabel, modelLabel, sizeLabel, lengthLabel, back, pageLabel, next, count);
  sizeLabel.hidden = true;
  const list = make("div");
  let found = [];
  let number = 1;
  let drawn = 0;
  const draw = async (wanted) => {
    const [only, step] = [Number(model.value), Number(length.value)];
    const pages = Math.max(1, Math.ceil(found.length / step));
    number = Math.min(Math.max(1, Math.trunc(wanted) || 1), pages);
    const [turn, start] = [++drawn, (number - 1) * step];
    const shown = found.slice(start, start + step);
    pageText.textContent = `Page, 1 to ${pages.toLocaleString("en")}`;
    [page.value, page.max, back.disabled, next.disabled] = [number, pages, number === 1, number === pages];
    const [first, until, all] = [start + 1, start + shown.length, found.length].map((n) => n.toLocaleString("en"));
    count.textContent = shown.length ? `${first} to ${until} of ${all}` : "none";
    try {
      const items = await task.get(shown);
      if (turn !== drawn) return; // the reader went on meanwhile
      sizeLabel.hidden &&= !items.some((item) => item.images.length);
      list.replaceChildren(...items.map((item, i) => card(task, item, shown[i], only)));
    } catch (error) {
      count.textContent = error.message;
    }
  };
  const filter = () => {
    const only = Number(model.value);
    const fates = only < 0 ? task.fates : [task.fates[only]];
    const keep =
      show.value === "models disagree"
        ? (place) => task.disagree[place] === "d"
        : (place) => fates.some((fate) => FILTERS[show.value](fate[place]));
    found = [...task.disagree].map((_, place) => place).filter(keep);
    draw(1);
  };
  show.addEventListener("change", filter);
  model.addEventListener("change", filter);
  length.addEventListener("change", () => draw(1));
  size.addEventListener("change", () => box.style.setProperty("--image", SIZES[size.value]));
  page.addEventListener("change", () => draw(page.valueAsNumber));
  back.addEventListener("click", () => draw(number - 1));
  next.addEventListener("click", () => draw(number + 1));
  box.replaceChildren(controls, list);
  filter();
};
for (const [name, task] of Object.entries(samples)) {
  const fold = document.getElementById(`${name}-samples`);
  const box = fold.querySelector(".browser");
  const open = async () => {
    try {
      browser(box, await (task.folder ? stored(task) : held(task)));
    } catch (error) {
      box.prepend(make("p", error.message, "note"));
    }
  };
  if (fold.open) open(); // before the scripts were there
  else fold.addEventListener("toggle", open, { once: true });
}
