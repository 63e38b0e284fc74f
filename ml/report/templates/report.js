// Sorts and filters tables that are whole without it; cells without a number stay last whichever way is sorted.
(() => {
  "use strict";

  const key = (cell) => {
    const given = cell.dataset.value;
    if (given === undefined) return cell.firstChild ? cell.firstChild.textContent.trim() : "";
    return given === "" ? null : Number(given);
  };

  const compare = (one, other, direction) => {
    if (one === null || other === null) return (one === null) - (other === null);
    const order = typeof one === "number" ? one - other : one.localeCompare(other, "en", { numeric: true });
    return direction * order;
  };

  const sortable = (table) => {
    const headings = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    let sorted = () => {};

    const sort = (column) => {
      const heading = headings[column];
      const first = heading.classList.contains("n") ? "descending" : "ascending";
      const now = heading.getAttribute("aria-sort");
      const next = now === null ? first : now === "ascending" ? "descending" : "ascending";
      headings.forEach((each) => each.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", next);
      const direction = next === "ascending" ? 1 : -1;
      [...body.rows]
        .map((row) => [key(row.cells[column]), row])
        .sort(([one], [other]) => compare(one, other, direction))
        .forEach(([, row]) => body.append(row));
      sorted();
    };

    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => sort(column));
    });

    const controls = table.closest("section").querySelector(".sorting");
    if (!controls) return;
    const more = table.closest("section").querySelector(".more");
    const status = controls.querySelector("[role=status]");
    const selects = [...controls.querySelectorAll("select")];
    const columnOf = (name) => headings.findIndex((heading) => heading.dataset.column === name);
    let shown = Number(table.dataset.shown);

    const show = () => {
      let kept = 0;
      for (const row of body.rows) {
        const fits = selects.every((each) => !each.value || key(row.cells[columnOf(each.dataset.column)]) === each.value);
        if (fits) kept += 1;
        row.hidden = !fits || kept > shown;
      }
      const seen = Math.min(kept, shown);
      status.textContent = `${seen} of ${kept} shown`;
      more.hidden = seen === kept;
      more.textContent = `Show all ${kept}`;
    };

    sorted = show;
    selects.forEach((each) => each.addEventListener("change", show));
    more.addEventListener("click", () => { shown = Infinity; show(); });
    controls.hidden = false;
    show();
  };

  document.querySelectorAll("table.sortable").forEach(sortable);

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((each) => { each.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((each) => { each.open = false; }));
})();
