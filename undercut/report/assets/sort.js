// A click on the head of a sortable table sorts by it, a second one the other way.
for (const table of document.querySelectorAll("table.sortable"))
  table.tHead.addEventListener("click", event => {
    const head = event.target.closest("th");
    if (!head) return;
    const column = head.cellIndex, down = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = row => row.cells[column].textContent, sign = down ? -1 : 1;
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const x = value(a), y = value(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      const difference = Number(x.replaceAll(",", "")) - Number(y.replaceAll(",", ""));
      return sign * (Number.isNaN(difference) ? x.localeCompare(y, "en", {numeric: true}) : difference);
    });
    table.tBodies[0].append(...rows);
  });
