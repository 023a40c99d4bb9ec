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
const MANY = 200; // rows, from which on a table is shown by pages
const begin = (table) => {
  const many = table.tBodies[0].rows.length > MANY;
  return $(table).DataTable({
    autoWidth: false,
    columnDefs: [
      { targets: "number", type: "number" },
      { targets: "fixed", orderable: false },
    ],
    info: false,
    language: { emptyTable: "Nothing here", zeroRecords: "No model matches the filter" },
    layout: { topStart: null, topEnd: null, bottomStart: many ? "paging" : null, bottomEnd: null },
    order: [],
    pageLength: 100,
    paging: many,
  });
};
const found = [...document.querySelectorAll("table.sortable")];
const places = found.map((table) => [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent.trim() === "model"));
const tables = found.map(begin);

const filter = document.getElementById("filter");
const matches = document.getElementById("matches");
const shown = tables.map((table, i) => [table, places[i]]);
const overview = shown.filter(([table]) => table.table().node().closest("#overview")); // the page of a task has none
const names = (search) =>
  new Set(
    (overview.length ? overview : shown).flatMap(([table, place]) =>
      table.rows({ search }).nodes().toArray().map((row) => row.cells[place].textContent),
    ),
  );
const total = names("none").size;
filter.addEventListener("input", () => {
  tables.forEach((table, i) => table.column(places[i]).search(filter.value, { smart: false }).draw()); // not in the notes
  matches.textContent = filter.value ? `${names("applied").size} of ${total}` : "";
});
