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
const tables = $("table.sortable").DataTable({
  autoWidth: false,
  columnDefs: [
    { targets: "number", type: "number" },
    { targets: "fixed", orderable: false },
  ],
  info: false,
  language: { emptyTable: "Nothing here", zeroRecords: "No model matches the filter" },
  layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null },
  order: [],
  paging: false,
});

const filter = document.getElementById("filter");
const matches = document.getElementById("matches");
filter.addEventListener("input", () => {
  tables.tables().search(filter.value, { smart: false }).draw();
  const overview = tables.table("#overview table").page.info();
  matches.textContent = filter.value ? `${overview.recordsDisplay} of ${overview.recordsTotal}` : "";
});
