// A click on a head sorts by its column, a second one the other way; cells without a value go last.
for (const table of document.querySelectorAll("table.sortable")) {
  table.classList.add("can-sort");
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const isNumber = head.classList.contains("number");
    const key = row => isNumber ? row.cells[column].dataset.value : row.cells[column].title;
    const order = (a, b) => isNumber ? a - b : a.localeCompare(b);
    const body = table.tBodies[0], rows = [...body.rows];
    const known = rows.filter(row => key(row) !== undefined);
    known.sort((a, b) => (up ? 1 : -1) * order(key(a), key(b)));
    body.append(...known, ...rows.filter(row => key(row) === undefined));
  }));
}

// A plot was drawn as its place was read: before its neighbour and the scroll bar took their room.
window.dispatchEvent(new Event("resize"));
