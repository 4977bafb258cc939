"use strict";

// The button is labelled with the theme that it switches to.
const theme = document.getElementById("theme");
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (prefersDark.matches ? "dark" : "light")) === "dark";
const nameTheme = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  nameTheme();
});
prefersDark.addEventListener("change", nameTheme);
nameTheme();
theme.hidden = false;

// On a small screen the page is long, and what can be folded begins folded.
if (matchMedia("(max-width: 40rem)").matches) {
  for (const fold of document.querySelectorAll("details.fold")) fold.open = false;
}

for (const head of document.querySelectorAll("table.sortable th[data-column]")) {
  const column = Number(head.dataset.column);
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = head.textContent;
  const heading = document.createElement("span");
  heading.className = "heading";
  heading.textContent = head.textContent;
  head.replaceChildren(button, heading);
  button.addEventListener("click", () => {
    const body = head.closest("table").tBodies[0];
    const text = (row) => row.cells[column].textContent.trim();
    // The first number of a cell: "63.2%", "p < 0.001", "+21.0 (20.1 to 22.1)"; cells without one come last.
    const number = (row) => Number(text(row).replaceAll(",", "").replace("−", "-").match(/-?\d+\.?\d*/)?.[0] ?? -Infinity);
    // The first click sorts numbers in descending order, names in ascending order.
    const start = head.classList.contains("number") ? "descending" : "ascending";
    const turned = start === "ascending" ? "descending" : "ascending";
    const order = head.ariaSort === start ? turned : start;
    const compare = head.classList.contains("number")
      ? (a, b) => number(a) - number(b)
      : (a, b) => text(a).localeCompare(text(b), "en", { numeric: true });
    const rows = [...body.rows].sort(compare);
    if (order === "descending") rows.reverse();
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.ariaSort = order;
    body.append(...rows);
  });
}
