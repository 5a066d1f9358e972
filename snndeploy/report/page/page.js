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
  const sort = (title, up) => {
    const table = title.closest("table");
    for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
    title.setAttribute("aria-sort", up ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => compared(value(a, title.cellIndex), value(b, title.cellIndex)));
    if (!up) rows.reverse();
    table.tBodies[0].append(...rows);
  };
  for (const button of document.querySelectorAll("thead button")) {
    button.addEventListener("click", () => {
      const title = button.parentElement;
      sort(title, title.getAttribute("aria-sort") !== "ascending");
    });
  }

  // Where rows are cards, cells say what they are, and so do roles, which a style of cards takes away.
  const roles = { table: "table", "thead, tbody": "rowgroup", tr: "row", "thead th": "columnheader",
    "tbody th": "rowheader", td: "cell" };
  for (const [which, role] of Object.entries(roles))
    for (const part of document.querySelectorAll(which)) part.setAttribute("role", role);
  document.documentElement.classList.add("cards");

  // There are no titles to click on then: a list of orders stands for them.
  for (const table of document.querySelectorAll("table")) {
    const titles = [...table.tHead.rows[0].cells];
    for (const row of table.tBodies[0].rows)
      titles.forEach((title, i) => (row.cells[i].dataset.label = title.textContent));
    if (table.tBodies[0].rows.length < 2) continue;
    const given = [...table.tBodies[0].rows];
    const orders = [[null, true, "as given"]];
    for (const title of titles) {
      const numbers = given.some((row) => row.cells[title.cellIndex].dataset.by !== undefined);
      for (const up of numbers ? [false, true] : [true])
        orders.push([title, up, title.textContent + (numbers ? (up ? ", least first" : ", most first") : "")]);
    }
    const label = document.createElement("label");
    const choice = document.createElement("select");
    label.className = "sorter";
    for (const [, , text] of orders) choice.append(new Option(text));
    label.append("Order", choice);
    table.before(label);
    choice.addEventListener("change", () => {
      const [title, up] = orders[choice.selectedIndex];
      if (title) sort(title, up);
      else table.tBodies[0].append(...given);
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
    const spec = pictures[place.dataset.picture];
    if (place.clientWidth < 400) spec.config.legend.columns = 1;
    vegaEmbed(place, spec, options).then(
      (drawn) => drawn.view.addEventListener("click", lead),
      (error) => {
        place.textContent = "This picture could not be drawn; the tables hold its numbers.";
        console.error(error);
      }
    );
  }
})();
