// Everything here adds to a page that is complete without it: sorting, filtering, a theme, charts that answer the mouse.
const root = document.documentElement;
const $ = window.itables.jQuery;

const tools = document.querySelector(".tools");
tools.hidden = false;

// Theme: the system's, until the button says otherwise.
const THEME = "adaptbench-theme";
const button = document.getElementById("theme");
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ?? (systemDark.matches ? "dark" : "light")) === "dark";
const remember = (act) => {
  try {
    return act(localStorage);
  } catch {
    return null; // storage can be forbidden for files
  }
};
const show = () => {
  button.textContent = isDark() ? "Light" : "Dark";
  button.setAttribute("aria-label", `Use the ${isDark() ? "light" : "dark"} theme`);
};
const kept = remember((storage) => storage.getItem(THEME));
if (kept === "light" || kept === "dark") root.dataset.theme = kept;
show();
systemDark.addEventListener("change", show);
button.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  remember((storage) => storage.setItem(THEME, root.dataset.theme));
  show();
});

// Tables: numbers sort by their value, and what is missing stays last in either direction.
const missingLast = (sign) => (a, b) => {
  if (a === "" || b === "") return (a === "") - (b === "");
  return sign * (a - b);
};
$.fn.dataTable.ext.type.order["number-asc"] = missingLast(1);
$.fn.dataTable.ext.type.order["number-desc"] = missingLast(-1);

// The rows of a long table come as plain values; all that they say is set as text.
const element = (tag, className, ...content) => {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...content);
  return made;
};
const wrapping = (name) =>
  name.split(/(?<=[+(,@:|=_/.])(?=.)/s).flatMap((part, i) => (i ? [document.createElement("wbr"), part] : [part]));
const numberCell = (hints, [text, order = "", hint = -1, note = "", best = 0], more = "") => {
  const cell = element("td", `number${more}${best ? " best" : ""}${text === "0" ? " zero" : ""}`, text);
  cell.dataset.order = order;
  if (hint >= 0) cell.title = hints[hint];
  if (note) cell.append(" ", element("span", "roles", note));
  return cell;
};
const tableRow = (hints, [name, aside, cells, rank, remarks, reason]) => {
  const row = element("tr", aside ? "aside" : "");
  if (rank) row.append(numberCell(hints, rank, aside ? " rank" : " rank ranked"));
  const head = element("th", "", element("span", "spec", ...wrapping(name)));
  head.scope = "row";
  row.append(head, ...cells.map((cell) => numberCell(hints, cell)));
  if (rank) {
    const told = remarks.map((remark) => element("li", remark === reason ? "strong" : "", remark));
    row.append(element("td", "remarks", ...(told.length ? [element("ul", "", ...told)] : [])));
  }
  return row;
};

const filter = document.getElementById("filter");
const matches = document.getElementById("matches");
const sought = () => filter.value.toLowerCase();
const tables = [...document.querySelectorAll("table.sortable")].map((table) => {
  const held = table.parentElement.querySelector("script.rows");
  const values = held && JSON.parse(held.textContent);
  const place = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent.trim() === "model");
  const names = values ? values.rows.map(([name]) => name) : [...table.tBodies[0].rows].map((row) => row.cells[place].textContent);
  return { table, values, place, names, short: !values, applied: "" };
});
const begin = (one) => {
  const { table, values } = one;
  if (values) table.tBodies[0].replaceChildren(...values.rows.map((row) => tableRow(values.hints, row)));
  one.values = null;
  one.made = $(table).DataTable({
    autoWidth: false,
    columnDefs: [
      { targets: "number", type: "number" },
      { targets: "fixed", orderable: false },
    ],
    info: false,
    language: { emptyTable: "Nothing here", zeroRecords: "No model matches the filter" },
    layout: { topStart: null, topEnd: null, bottomStart: values ? "paging" : null, bottomEnd: null },
    order: [],
    pageLength: 25,
    paging: Boolean(values),
  });
};
// Short tables and what is in the window are filtered at once; long tables are made and filtered when they come near.
const update = (one) => {
  if (!one.made) begin(one);
  const wanted = sought();
  if (one.applied === wanted) return;
  one.applied = wanted;
  one.made.column(one.place).search((name) => name.toLowerCase().includes(wanted)).draw(); // not in the notes
};
const waiting = new Set();
const later = (act) => (window.requestIdleCallback ?? setTimeout)(act, { timeout: 500 });
const work = () => {
  const [one] = waiting; // one at a time, when there is nothing else to do
  if (!one) return;
  waiting.delete(one);
  if (one.near) update(one);
  later(work);
};
const watch = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      const one = tables.find(({ table }) => table === target);
      one.near = isIntersecting;
      if (isIntersecting) waiting.add(one);
    }
    later(work);
  },
  { rootMargin: "400px" },
);
for (const one of tables) {
  if (!one.values) begin(one);
  watch.observe(one.table);
}
const listed = tables.filter(({ table }) => table.closest("#overview")); // the page of a task has none
const names = [...new Set((listed.length ? listed : tables).flatMap((one) => one.names))];
filter.addEventListener("input", () => {
  for (const one of tables.filter(({ made }) => made)) {
    const { top, bottom } = one.table.getBoundingClientRect();
    if (one.short ? one.table.checkVisibility() : top < innerHeight && bottom > 0) update(one);
    else if (one.near) waiting.add(one);
  }
  later(work);
  const found = names.filter((name) => name.toLowerCase().includes(sought()));
  matches.textContent = filter.value ? `${found.length} of ${names.length}` : "";
});
