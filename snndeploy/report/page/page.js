"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");

  // Tables: a click on a title sorts by it, a second one the other way round.
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.by === undefined ? cell.textContent : Number(cell.dataset.by);
  };
  const compared = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a === "number") return -1;
    if (typeof b === "number") return 1;
    return a.localeCompare(b, "en", { numeric: true });
  };
  for (const button of document.querySelectorAll("thead button")) {
    button.addEventListener("click", () => {
      const title = button.parentElement;
      const table = title.closest("table");
      const up = title.getAttribute("aria-sort") !== "ascending";
      for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
      title.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => compared(value(a, title.cellIndex), value(b, title.cellIndex)));
      if (!up) rows.reverse();
      table.tBodies[0].append(...rows);
    });
  }

  // What paper shows is all of it.
  const opened = [];
  addEventListener("beforeprint", () => {
    for (const fold of document.querySelectorAll("details:not([open])")) {
      fold.open = true;
      opened.push(fold);
    }
  });
  addEventListener("afterprint", () => {
    for (const fold of opened.splice(0)) fold.open = false;
  });

  // Pictures: drawn from their specifications; a click on what has a row leads to it.
  const held = document.getElementById("pictures");
  if (!held) return;
  const pictures = JSON.parse(held.textContent);
  const lead = (event, item) => {
    const link = item && item.datum && item.datum.link;
    if (typeof link !== "string" || !/^#layer-\d+$/.test(link)) return;
    location.hash = link;
  };
  for (const place of document.querySelectorAll("[data-picture]")) {
    const options = {
      actions: false,
      renderer: "svg",
      tooltip: { theme: dark.matches ? "dark" : "light" },
    };
    vegaEmbed(place, pictures[place.dataset.picture], options).then(
      (drawn) => drawn.view.addEventListener("click", lead),
      (error) => {
        place.textContent = "This picture could not be drawn; the tables hold its numbers.";
        console.error(error);
      }
    );
  }
})();
