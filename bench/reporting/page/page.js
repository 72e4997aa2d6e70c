"use strict";
// Tables can be sorted by a click on a column's name, and filtered by text. Without this script, and
// in print, every table is complete.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  if (!body || body.rows.length < 4) continue;
  const original = [...body.rows];
  const value = (row, index) => {
    const text = row.cells[index] ? row.cells[index].textContent.trim() : "";
    const match = text.match(/^[+-]?[\d.,]+(e-?\d+)?\s*([kMGT]?)/);
    if (!match) return [1, text];
    const scale = { k: 1e3, M: 1e6, G: 1e9, T: 1e12 }[match[2]] || 1;
    return [0, parseFloat(match[0].replaceAll(",", "")) * scale];
  };
  const compare = (a, b) => a[0] - b[0] || (a[1] < b[1] ? -1 : a[1] > b[1] ? 1 : 0);
  [...table.tHead.rows[0].cells].forEach((head, index) => {
    let direction = 0;
    const sort = () => {
      direction = direction === 0 ? (index ? -1 : 1) : direction === (index ? -1 : 1) ? -direction : 0;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      if (direction) head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      const rows = direction
        ? [...original].sort((a, b) => {
            const [x, y] = [value(a, index), value(b, index)];
            return x[0] !== y[0] ? x[0] - y[0] : direction * compare(x, y);
          })
        : original;
      body.append(...rows);
    };
    head.tabIndex = 0;
    head.title = "Sort";
    head.classList.add("sortable");
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        sort();
      }
    });
  });
  if (original.length < 9) continue;
  const input = document.createElement("input");
  input.type = "search";
  input.className = "filter";
  input.placeholder = "Filter rows";
  input.setAttribute("aria-label", "Filter the rows of this table");
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    for (const row of original) row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
  });
  table.closest(".scroll").before(input);
}
