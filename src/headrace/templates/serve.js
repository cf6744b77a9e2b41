// Every text that comes from the server is set as text, never as HTML.
"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  let key = "";
  let held = null;
  let unloaded = false;

  const make = (tag, text, parent, name) => {
    const node = document.createElement(tag);
    if (text !== undefined && text !== null) node.textContent = String(text);
    if (name) node.className = name;
    if (parent) parent.append(node);
    return node;
  };

  const call = async (path, body) => {
    const headers = key ? { Authorization: `Bearer ${key}` } : {};
    const options = { headers };
    if (body !== undefined) {
      options.method = "POST";
      options.body = JSON.stringify(body);
      headers["Content-Type"] = "application/json";
    }
    const response = await fetch(path, options);
    const said = await response.json();
    if (!response.ok) {
      const error = new Error([said.error.where, said.error.message].filter(Boolean).join(": "));
      error.status = response.status;
      throw error;
    }
    return said;
  };

  const trouble = (text) => {
    find("trouble").hidden = !text;
    find("trouble").textContent = text || "";
  };

  const table = (parent, names, rows) => {
    parent.replaceChildren();
    if (!rows.length) return;
    const made = make("table", null, parent);
    if (names) {
      const head = make("tr", null, make("thead", null, made));
      names.forEach((name) => make("th", name, head).setAttribute("scope", "col"));
    }
    const body = make("tbody", null, made);
    rows.forEach((row) => {
      const line = make("tr", null, body);
      row.forEach((cell) => make("td", cell, line));
    });
  };

  const field = (input) => {
    const label = make("label", null, null);
    label.dataset.name = input.name;
    make("span", input.name, label);
    let box;
    if (input.kind === "boolean") {
      box = make("select", null, label);
      ["false", "true", ""].forEach((value) => { make("option", value, box).value = value; });
    } else {
      box = make("input", null, label);
      box.type = "text";
      box.inputMode = input.kind === "numeric" ? "decimal" : "text";
      box.spellcheck = false;
      if (input.categories) {
        const list = make("datalist", null, label);
        list.id = `list-${find("fields").childElementCount}`;
        input.categories.forEach((value) => { make("option", null, list).value = value; });
        box.setAttribute("list", list.id);
      }
    }
    box.value = String(input.example);
    if (input.minimum !== null && input.maximum !== null) box.title = `${input.minimum} to ${input.maximum} in the training data`;
    find("fields").append(label);
  };

  const read = (input, text) => {
    if (text === "") return null;
    if (input.kind === "boolean") return text === "true";
    // What is no number goes as it is: the server says what is wrong with it.
    if (input.kind === "numeric") return text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
    return text;
  };

  const show = (said) => {
    const place = find("answer");
    const row = said.rows[0];
    place.replaceChildren();
    make("p", row.prediction === null ? "no answer" : row.prediction, place, "said");
    if (row.probabilities) {
      const bars = make("div", null, place, "bars");
      Object.entries(row.probabilities).forEach(([name, value]) => {
        const bar = make("div", null, bars);
        make("span", name, bar);
        const meter = make("meter", null, bar);
        meter.value = value;
        meter.setAttribute("aria-label", name);
        make("span", `${(100 * value).toFixed(1)} %`, bar);
      });
    }
    const whats = { range: "outside of the range of training", category: "not seen in training", missing: "never missing in training" };
    if (row.flags.length) {
      const flags = make("ul", null, place, "flags");
      row.flags.forEach((flag) => make("li", `${flag.column}: ${whats[flag.check]}`, flags));
    }
    document.querySelectorAll("#fields label").forEach((label) => {
      label.classList.toggle("flagged", row.flags.some((flag) => flag.column === label.dataset.name));
    });
    make("p", `${said.model}, ${said.arm}, request ${said.request_id}`, place, "soft small");
  };

  const figure = (name, value) => {
    const box = make("div", null, find("figures"));
    make("dt", name, box);
    make("dd", value, box);
  };

  const live = (said) => {
    find("figures").replaceChildren();
    figure("requests", said.live.requests);
    figure("requests a second", said.live.per_second);
    figure("errors", said.live.errors);
    table(
      find("arms"),
      ["arm", "model", "runtime", "requests", "median, ms", "99 %, ms"],
      said.arms.map((arm) => {
        const at = said.live.arms[arm.arm] || {};
        return [arm.arm, arm.model, arm.runtime, at.requests ?? 0, at.p50 ?? "", at.p99 ?? ""];
      }),
    );
    find("drift").hidden = find("drift-link").hidden = !said.drift;
    if (said.drift) {
      const rows = Array.isArray(said.drift) ? said.drift : Object.entries(said.drift).map(([name, value]) => ({ name, value: typeof value === "object" ? JSON.stringify(value) : value }));
      const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
      table(find("drifts"), names, rows.map((row) => names.map((name) => row[name] ?? "")));
    }
  };

  const plain = (text) => text.replace(/\*\*(.+?)\*\*/g, "$1").replace(/`([^`]*)`/g, "$1").replace(/\\([\\`*[\]|~])/g, "$1").replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");

  const card = (text) => {
    const place = find("text");
    place.replaceChildren();
    let rows = [];
    let code = null;
    const flush = () => {
      if (rows.length) table(make("div", null, place), null, rows);
      rows = [];
    };
    text.split("\n").forEach((line) => {
      if (line.startsWith("```")) {
        flush();
        code = code === null ? make("pre", "", place) : null;
      } else if (code !== null) {
        code.textContent += `${line}\n`;
      } else if (line.startsWith("|")) {
        const cells = line.replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => plain(cell.trim()));
        if (cells.some((cell) => cell && !/^:?-+:?$/.test(cell))) rows.push(cells);
      } else {
        flush();
        const heading = /^(#+) (.*)$/.exec(line);
        if (heading) make(heading[1].length === 1 ? "h1" : "h2", plain(heading[2]), place);
        else if (line.trim()) make("p", plain(line), place);
      }
    });
    flush();
  };

  const load = async () => {
    try {
      const said = await call("v1/model");
      // What is wrong with a row stays until the next one is asked.
      if (unloaded) trouble("");
      unloaded = false;
      find("unlock").hidden = true;
      if (!held || held.model !== said.model) {
        held = said;
        document.title = find("model").textContent = said.model;
        find("about").textContent = `${said.task}${said.target ? ` of ${said.target}` : ""}, ${said.inputs.length} inputs`;
        find("fields").replaceChildren();
        said.inputs.forEach(field);
        card(said.card);
      }
      live(said);
    } catch (error) {
      if (error.status === 401 || error.status === 403) find("unlock").hidden = false;
      unloaded = true;
      trouble(error.status ? error.message : "The server does not answer.");
    }
  };

  find("unlock").addEventListener("submit", (event) => {
    event.preventDefault();
    key = find("key").value;
    load();
  });

  find("ask").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!held) return;
    const button = find("ask").querySelector("button");
    button.disabled = true;
    const row = {};
    document.querySelectorAll("#fields label").forEach((label, number) => {
      row[label.dataset.name] = read(held.inputs[number], label.querySelector("input, select").value);
    });
    try {
      show(await call("v1/predict", { rows: [row] }));
      trouble("");
    } catch (error) {
      trouble(error.status ? error.message : "The server does not answer.");
    }
    button.disabled = false;
    await load();
  });

  load();
  setInterval(() => { if (held && !document.hidden) load(); }, 2000);
})();
