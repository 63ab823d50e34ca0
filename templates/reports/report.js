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

  // A table with its rows in their order, of which the first that no filter hides are shown. The others of a long one
  // are text until someone asks for them: a page of a thousand cells opens with a hundred.
  const tabled = (table) => {
    const body = table.tBodies[0];
    const section = table.closest("section");
    const rest = section.querySelector("noscript.rest");
    const more = section.querySelector("button.more");
    const rows = [...body.rows];
    let most = rest ? rows.length : Infinity;

    const all = () => {
      if (rest?.isConnected) {
        const held = document.createElement("template");
        held.innerHTML = rest.textContent;
        const others = [...held.content.querySelectorAll("tbody > tr")];
        rest.remove();
        others.forEach((row) => row.classList.add("rest"));
        rows.push(...others);
        body.append(...others);
      }
      return rows;
    };
    const show = () => {
      let shown = 0;
      for (const row of all()) {
        row.classList.toggle("rest", !row.hidden && shown >= most);
        shown += row.hidden ? 0 : 1;
      }
      more.hidden = shown <= most;
      more.textContent = `Show all ${shown} rows`;
    };
    if (rest) {
      more.hidden = false;
      more.textContent = `Show all ${rows.length + Number(rest.dataset.rows)} rows`;
    }
    more.addEventListener("click", () => {
      const first = all().find((row) => row.classList.contains("rest"));
      most = Infinity;
      show();
      first?.querySelector("a, th")?.scrollIntoView({ block: "nearest" });
    });

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
        body.append(...all().sort((left, right) => order(value(left), value(right))));
        show();
      });
    });
    return { all, show };
  };

  const filterable = (form, tables) => {
    const shown = form.querySelector("output");
    const map = document.querySelector("table.map");
    let texts; // read when first asked for: a large page opens sooner

    const apply = () => {
      const rules = [...form.elements]
        .filter((item) => item.tagName === "SELECT" && item.value)
        .map((item) => [item.name, item.value]);
      const fits = (item) => rules.every(([name, value]) => item.dataset[name] === undefined || item.dataset[name] === value);
      const sought = form.elements.words.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
      const rows = tables.flatMap((table) => table.all());
      texts ??= new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
      let count = 0;
      for (const row of rows) {
        row.hidden = !(fits(row) && sought.every((word) => texts.get(row).includes(word)));
        count += row.hidden ? 0 : 1;
      }
      tables.forEach((table) => table.show());
      if (map) {
        const columns = [...map.tHead.rows[0].cells].map(fits);
        for (const row of map.rows) {
          row.hidden = !fits(row);
          columns.forEach((visible, at) => (row.cells[at].hidden = !visible));
        }
      }
      shown.textContent = count === rows.length ? "" : `${count} of ${rows.length} ${shown.dataset.what}`;
    };
    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", apply);
    form.addEventListener("reset", () => setTimeout(apply));
  };

  const choosable = (form) => {
    const map = document.querySelector("table.map");
    const select = form.elements.metric;
    const cells = [...map.querySelectorAll("td:not(.failed, .none)")];
    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => {
      for (const cell of cells) {
        const [figure, step] = cell.dataset[select.value].split("|");
        cell.className = `h${step}`;
        cell.firstElementChild.textContent = step === "" && cell.dataset.outcome ? cell.dataset.outcome : figure;
      }
      map.caption.textContent = `${select.selectedOptions[0].text}: a row a device, a column a build.`;
    });
  };

  const tables = [...document.querySelectorAll("table.matrix")].map(tabled);
  document.querySelectorAll("form.filters").forEach((form) => filterable(form, tables));
  document.querySelectorAll("form.metric").forEach(choosable);
  const unfold = () => {
    tables.forEach((table) => table.show());
    document.querySelectorAll("details.build").forEach((details) => (details.open = true));
  };
  window.addEventListener("load", () => setTimeout(() => document.body.classList.remove("opening"), 50));
  window.addEventListener("beforeprint", unfold);
  window.matchMedia("print").addEventListener("change", (media) => media.matches && unfold());
})();
