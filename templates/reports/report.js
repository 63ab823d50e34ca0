"use strict";
// Sorting, filtering and the heat map's choice; without this script all tables are whole and in their own order.
(() => {
  const words = new Intl.Collator("en", { numeric: true });

  const compare = (numeric, up) => (left, right) => {
    if (left === undefined || right === undefined) {
      return (left === undefined) - (right === undefined);
    }
    return (numeric ? left - right : words.compare(left, right)) * (up ? 1 : -1);
  };

  const sortable = (table) => {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
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
        const value = (row) => row.cells[at].dataset.sort;
        body.append(...rows.sort((left, right) => order(value(left), value(right))));
      });
    });
  };

  const filterable = (form) => {
    const shown = form.querySelector("output");
    const tables = [...document.querySelectorAll("table.filtered")].map((table) => ({
      rows: [...table.tBodies[0].rows].map((row) => ({ row, text: row.textContent.toLowerCase() })),
    }));
    const map = document.querySelector("table.map");
    const chosen = () =>
      [...form.elements].filter((item) => item.tagName === "SELECT" && item.value).map((item) => [item.name, item.value]);

    const apply = () => {
      const rules = chosen();
      const fits = (item) => rules.every(([name, value]) => item.dataset[name] === undefined || item.dataset[name] === value);
      const found = form.elements.words.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      let all = 0;
      for (const { rows } of tables) {
        for (const { row, text } of rows) {
          row.hidden = !(fits(row) && found.every((word) => text.includes(word)));
          count += row.hidden ? 0 : 1;
          all += 1;
        }
      }
      if (map) {
        const columns = [...map.tHead.rows[0].cells].map(fits);
        for (const row of map.rows) {
          row.hidden = !fits(row);
          columns.forEach((visible, at) => (row.cells[at].hidden = !visible));
        }
      }
      shown.textContent = count === all ? "" : `${count} of ${all} ${shown.dataset.what}`;
    };
    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", apply);
    form.addEventListener("reset", () => setTimeout(apply));
  };

  const choosable = (form) => {
    const map = document.querySelector("table.map");
    const select = form.elements.metric;
    const cells = [...map.querySelectorAll("td[data-median], td[data-memory]")];
    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => {
      for (const cell of cells) {
        const [figure, step] = (cell.dataset[select.value] || "–|").split("|");
        cell.className = `h${step}`;
        cell.firstElementChild.textContent = figure;
      }
      map.caption.textContent = `${select.selectedOptions[0].text}: a row a device, a column a build.`;
    });
  };

  document.querySelectorAll("table.matrix").forEach(sortable);
  document.querySelectorAll("form.filters").forEach(filterable);
  document.querySelectorAll("form.metric").forEach(choosable);
  window.addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details.build")) {
      details.open = true;
    }
  });
})();
