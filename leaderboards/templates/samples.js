// Samples: a page at a time, as filtered. Everything that a model or a task says is set as text.
const samples = JSON.parse(document.getElementById("samples").textContent);
const PAGE = 10;
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
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", `Answers to ${item.id}`);
  scroll.tabIndex = 0;
  scroll.append(table);
  article.append(scroll);
  return article;
};
const browser = (box, task) => {
  const controls = make("div", undefined, "controls");
  const [showLabel, show] = choice("Show", [...Object.keys(FILTERS), "models disagree"].map((name) => [name, name]));
  const [modelLabel, model] = choice("of", [["-1", "any model"], ...task.models.map((name, i) => [String(i), name])]);
  const [sizeLabel, size] = choice("Images", Object.keys(SIZES).map((name) => [name, name]));
  size.value = "medium";
  const [back, next] = [make("button", "Back"), make("button", "Next")];
  for (const button of [back, next]) button.type = "button";
  const count = make("output");
  controls.append(showLabel, modelLabel, ...(task.items.some((item) => item.images.length) ? [sizeLabel] : []), back, next, count);
  const list = make("div");
  let found = [];
  let start = 0;
  const draw = () => {
    const only = Number(model.value);
    const shown = found.slice(start, start + PAGE);
    list.replaceChildren(...shown.map((place) => card(task, task.items[place], place, only)));
    count.textContent = found.length ? `${start + 1} to ${start + shown.length} of ${found.length}` : "none";
    back.disabled = start === 0;
    next.disabled = start + PAGE >= found.length;
  };
  const filter = () => {
    const only = Number(model.value);
    const fates = only < 0 ? task.fates : [task.fates[only]];
    const keep =
      show.value === "models disagree"
        ? (place) => task.disagree[place] === "d"
        : (place) => fates.some((fate) => FILTERS[show.value](fate[place]));
    found = task.items.map((_, place) => place).filter(keep);
    start = 0;
    draw();
  };
  show.addEventListener("change", filter);
  model.addEventListener("change", filter);
  size.addEventListener("change", () => box.style.setProperty("--image", SIZES[size.value]));
  back.addEventListener("click", () => ((start -= PAGE), draw()));
  next.addEventListener("click", () => ((start += PAGE), draw()));
  box.replaceChildren(controls, list);
  filter();
};
for (const [name, task] of Object.entries(samples)) {
  const fold = document.getElementById(`${name}-samples`);
  fold.addEventListener("toggle", () => browser(fold.querySelector(".browser"), task), { once: true });
}
