"use strict";
// Sorting and filtering of the matrix; without this script the table is whole and in its own order.
(() => {
  const table = document.querySelector("table.matrix");
  if (table) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    const words = new Intl.Collator("en", { numeric: true });

    const value = (row, at) => row.cells[at].dataset.sort;
    const compare = (numeric, up) => (left, right) => {
      if (left === undefined || right === undefined) {
        return (left === undefined) - (right === undefined);
      }
      return (numeric ? left - right : words.compare(left, right)) * (up ? 1 : -1);
    };

    heads.forEach((head, at) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const order = compare(head.classList.contains("num"), up);
        body.append(...rows.sort((left, right) => order(value(left, at), value(right, at))));
      });
    });

    const form = document.querySelector("form.filters");
    const shown = form.querySelector("output");
    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", () => {
      const device = form.elements.device.value;
      const target = form.elements.target.value;
      let count = 0;
      for (const row of rows) {
        row.hidden = Boolean((device && row.dataset.device !== device) || (target && row.dataset.target !== target));
        count += row.hidden ? 0 : 1;
      }
      shown.textContent = `${count} of ${rows.length} rows`;
    });
  }
  window.addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details.build")) {
      details.open = true;
    }
  });
})();
