
"use strict";
// The page knows nothing of a model but what /info says; what it sends is what curl would send.
const at = (id) => document.getElementById(id);
const FORMATS = ["dataframe_split", "dataframe_records", "inputs", "instances"];
const NUMBERS = new Set(["integer", "long", "float", "double"]);
const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
const PLACEHOLDERS = { integer: "0", long: "0", float: "0.0", double: "0.0", boolean: "false", string: "", datetime: "2024-01-31T12:00:00Z", binary: "", array: "[]", object: "{}", map: "{}" };
const MANY = 12; // columns, from which on one wants to search them
const WITHOUT = "No example of at most 64 KiB was logged with this model"; // of a larger one /info says nothing
let info, fields = [], kind = "body", sending = 0;

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function member(path, key) {
  return /^[\p{L}_][\p{L}\p{N}_]*$/u.test(key) ? `${path}.${key}` : `${path}["${key}"]`;
}

function describedType(spec) {
  if (spec.type === "tensor") return `${spec["tensor-spec"].dtype} [${spec["tensor-spec"].shape.map((length) => (length < 0 ? "any" : length)).join(", ")}]`;
  if (spec.type === "array") return `array of ${describedType(spec.items)}`;
  if (spec.type === "map") return `object of ${describedType(spec.values)}`;
  if (spec.shape) return `list of ${spec.type}`;
  return spec.type;
}

// One field: its control, its place in the request, and the JSON text of what is in it. Numbers go as they were typed: no digit is lost.
function field(spec, label, path, { nullable, structured }) {
  const needed = spec.required !== false;
  let control;
  if (spec.type === "boolean" && !structured) {
    control = make("select", {}, ...[...(needed && !nullable ? [] : [""]), "true", "false"].map((value) => make("option", { value, textContent: value || "none" })));
  } else if (structured) {
    control = make("textarea", { rows: 3, spellcheck: false });
  } else {
    control = make("input", { type: "text", autocomplete: "off", spellcheck: false, inputMode: NUMBERS.has(spec.type) ? "decimal" : "text" });
    if (spec.type === "datetime") control.placeholder = "2024-01-31T12:00:00Z";
    if (spec.type === "binary") control.placeholder = "base64";
  }
  const why = make("span", { className: "why", hidden: true });
  const box = make("label", { className: structured ? "field wide" : "field", title: label },
    make("span", { className: "label" }, make("b", { textContent: label }), make("i", { textContent: describedType(spec) + (needed ? "" : ", optional") })), control, why);
  control.addEventListener("input", () => { clear(one); showCurl(); });
  const one = { spec, label, path, control, box, why, structured, needed, nullable };
  return one;
}

function text(one) {
  const value = one.control.value;
  if (one.structured) return value.trim() || "null";
  if (one.spec.type === "string") return value === "" && (!one.needed || one.nullable) ? "null" : JSON.stringify(value);
  if (value.trim() === "") return "null";
  if (one.spec.type === "boolean" || (NUMBERS.has(one.spec.type) && NUMBER.test(value.trim()))) return value.trim();
  return JSON.stringify(value);
}

function fill(one, value) {
  if (value === undefined) one.control.value = one.structured ? "[]" : PLACEHOLDERS[one.spec.type] ?? "";
  else if (one.structured) one.control.value = spaced(value);
  else one.control.value = value === null ? "" : typeof value === "string" ? value : JSON.stringify(value);
}

// On one line, with a space behind each comma: a line breaks there, and not inside a number. In a string JSON has no line breaks.
const spaced = (value) => JSON.stringify(value, null, 1).replace(/,\n */g, ", ").replace(/\n */g, "");

const isStructured = (spec) => spec.type === "tensor" || ["array", "object", "map", "any", "sparkml_vector"].includes(spec.type) || Boolean(spec.shape);

function body() {
  if (mode() === "json") return at("body").value;
  const inputs = fields.filter((one) => !one.param), params = fields.filter((one) => one.param && one.control.value !== "");
  const more = params.length ? `, "params": {${params.map((one) => `${JSON.stringify(one.spec.name)}: ${text(one)}`).join(", ")}}` : "";
  if (kind === "columns") {
    const names = inputs[0].spec.name === undefined ? "" : `"columns": [${inputs.map((one) => JSON.stringify(one.spec.name)).join(", ")}], `;
    return `{"dataframe_split": {${names}"data": [[${inputs.map(text).join(", ")}]]}${more}}`;
  }
  if (kind === "tensor") return `{"inputs": ${text(inputs[0])}${more}}`;
  return `{"inputs": {${inputs.map((one) => `${JSON.stringify(one.spec.name)}: ${text(one)}`).join(", ")}}${more}}`;
}

const mode = () => document.querySelector("input[name=mode]:checked").value;
const target = () => new URL("invocations", location.href).href;

const locked = () => !at("door").hidden;

// The token is in its field and in the header of requests to this server, and nowhere else.
function ask(path, { headers, ...options } = {}) {
  const token = at("token").value.replace(/[^!-~]/g, "");
  return fetch(path, { ...options, headers: { ...headers, ...(token && { Authorization: `Bearer ${token}` }) } });
}

function lock() {
  say("refused", at("token").value ? "The server does not accept this token." : "");
  at("door").hidden = false;
  at("token").focus();
  document.querySelector("main").hidden = !info; // an empty form says nothing
  if (info) showCurl();
}

function showCurl() {
  const quoted = body().replaceAll("'", "'\\''");
  const token = locked() ? `  -H "Authorization: Bearer $TOKEN" \\\n` : "";
  at("curl").textContent = `curl ${target()} \\\n${token}  -H 'Content-Type: application/json' \\\n  -d '${quoted}'`;
}

function clear(one) {
  one.box.classList.remove("bad");
  one.control.removeAttribute("aria-invalid");
  one.why.hidden = true;
}

// Rows of the example by position, in the order of the columns.
function exampleRows() {
  const { dataframe_split: split, dataframe_records: records, inputs = info.example?.instances } = info.example ?? {};
  const names = (info.signature.inputs ?? []).map((spec) => spec.name), named = names[0] !== undefined;
  if (kind === "tensor") return inputs === undefined ? [] : [[inputs]];
  if (split) return split.data.map((row) => names.map((name, index) => row[split.columns && named ? split.columns.indexOf(name) : index]));
  if (records ?? (named && Array.isArray(inputs) && inputs.every(isRecord))) return (records ?? inputs).map((record) => names.map((name) => record[name]));
  if (isRecord(inputs)) return recordRows(inputs, names);
  if (!Array.isArray(inputs) || (named && names.length > 1)) return [];
  return names.length === 1 ? inputs.map((item) => [unwrapped(item)]) : Array.isArray(inputs[0]) ? inputs : [inputs];
}

// A row, or a list for each column, of which each is a row's.
function recordRows(record, names) {
  const cells = names.map((name) => record[name]);
  const lists = kind === "columns" && cells.every((value, index) => value === undefined || (Array.isArray(value) && !isStructured(info.signature.inputs[index])));
  if (!lists) return [cells];
  return Array.from({ length: Math.max(...cells.map((list) => list?.length ?? 0)) }, (_, row) => cells.map((list) => list?.[row]));
}

// The only column of a row, that may be written as the row or as its value.
const unwrapped = (item) => (Array.isArray(item) && !isStructured(info.signature.inputs[0]) ? item[0] : item);

// A body for a model without an example: one element of the kind that its code takes.
function placeholder(spec) {
  if (spec === undefined) return [];
  const one = { array: () => [placeholder(spec.items)], map: () => ({ key: placeholder(spec.values) }), any: () => "" }[spec.type];
  if (one) return one();
  if (spec.type === "object") return Object.fromEntries(Object.entries(spec.properties).filter(([, part]) => part.required !== false).map(([name, part]) => [name, placeholder(part)]));
  return NUMBERS.has(spec.type) ? 0 : spec.type === "boolean" ? false : PLACEHOLDERS[spec.type] ?? "";
}

function build() {
  const { inputs, params, typed_in_code: typed } = info.signature;
  const example = info.example;
  const plain = inputs?.length && !typed && (!example || FORMATS.some((key) => key in example));
  if (plain) kind = inputs[0].type !== "tensor" ? "columns" : inputs[0].name === undefined ? "tensor" : "tensors";
  if (plain) {
    fields = inputs.map((spec, index) => {
      const path = kind === "columns" ? `dataframe_split.data[0][${index}]` : kind === "tensor" ? "inputs" : member("inputs", spec.name);
      return field(spec, String(spec.name ?? (kind === "tensor" ? "input" : `column ${index + 1}`)), path, { nullable: false, structured: isStructured(spec) });
    });
    for (const spec of params ?? []) {
      const one = field({ ...spec, required: true }, spec.name, member("params", spec.name), { nullable: true, structured: isStructured(spec) });
      fill(one, example?.params?.[spec.name] ?? spec.default ?? null);
      one.param = true;
      fields.push(one);
    }
    at("fields").append(...fields.filter((one) => !one.param).map((one) => one.box));
    at("params").lastElementChild.append(...fields.filter((one) => one.param).map((one) => one.box));
    at("params").hidden = !params?.length;
    const rows = exampleRows();
    const choose = (row) => fields.filter((one) => !one.param).forEach((one, index) => { clear(one); fill(one, row?.[index]); });
    choose(rows[0]);
    at("example").append(...rows.map((_, index) => make("option", { value: index, textContent: `Example ${index + 1}` })));
    at("example-label").hidden = rows.length < 2;
    at("example").addEventListener("change", (event) => { choose(rows[event.target.value]); showCurl(); });
    at("filter-label").hidden = inputs.length <= MANY;
    at("filter").placeholder = `Find one of ${inputs.length} columns   /`;
    if (!example) say("hint", `${WITHOUT}: the values are placeholders.`);
  } else {
    at("body").value = JSON.stringify(example ?? { inputs: typed && inputs?.length ? [placeholder(inputs[0])] : [] }, null, 2);
    say("hint", bodyHint(inputs, typed, example));
    document.querySelector("input[value=fields]").disabled = true;
    document.querySelector(".modes").hidden = true;
  }
  document.querySelector(`input[value=${plain ? "fields" : "json"}]`).checked = true;
  show();
}

function bodyHint(inputs, typed, example) {
  if (typed) return `The model's code takes a list under the key inputs; type of its elements: ${inputs?.length ? describedType(inputs[0]) : "any"}.${example ? "" : ` ${WITHOUT}: the value is a placeholder.`}`;
  if (inputs?.length) return "The model takes this body as it is.";
  return `The model has no signature that says what it takes.${example ? " The body is the example that was logged with it." : " Write the body yourself."}`;
}

function show() {
  const json = mode() === "json";
  at("raw").hidden = !json;
  at("fields").hidden = at("tools").hidden = json;
  at("params").hidden = json || !fields.some((one) => one.param);
  showCurl();
}

function say(id, words) {
  at(id).textContent = words;
  at(id).hidden = !words;
}

function head() {
  const { model, environment, server } = info;
  document.title = `${model.name}${model.version ? ` ${model.version}` : ""}`;
  at("name").textContent = model.name;
  const facts = [["Version", model.version], ["Flavor", model.flavor], ["Run", model.run_id, "mono"], ["MLflow", model.mlflow_version]];
  at("facts").append(...facts.filter(([, value]) => value).map(([name, value, look]) => make("div", {}, make("dt", { textContent: name }), make("dd", { textContent: value, className: look ?? "" }))));
  const count = environment.differs.length;
  at("differs").hidden = !count;
  at("differs").firstElementChild.textContent = count === 1 ? "One library differs from what the model was saved with" : `${count} libraries differ from what the model was saved with`;
  at("differs").lastElementChild.append(...environment.differs.map((one) => make("li", { textContent: `${one.name}: saved with ${one.wanted}, here ${one.installed ?? "missing"}` })));
  at("server").textContent = `${server.name} ${server.version}`;
}

// Numbers stay as they were sent, 1.0 and whole numbers beyond 2^53 too, where the browser knows how to keep them.
const asWritten = (_, value, context) => (typeof value === "number" && context?.source && JSON.rawJSON ? JSON.rawJSON(context.source) : value);
const isNumber = (value) => typeof value === "number" || Boolean(JSON.isRawJSON?.(value));
const isRecord = (value) => value !== null && typeof value === "object" && !Array.isArray(value) && !isNumber(value);

function cell(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function drawn(value) {
  const one = Array.isArray(value) && value.length === 1 ? value[0] : value;
  if (!isRecord(one) && !Array.isArray(one)) return make("p", { className: isNumber(one) ? "one number" : "one", textContent: cell(one) });
  if (Array.isArray(value) && value.every(isRecord)) {
    const names = [...new Set(value.flatMap((row) => Object.keys(row)))];
    const line = (tag, cells) => make("tr", {}, ...cells.map((content) => make(tag, { textContent: cell(content), className: isNumber(content) ? "number" : "" })));
    return make("table", {}, make("thead", {}, line("th", names)), make("tbody", {}, ...value.map((row) => line("td", names.map((name) => row[name] ?? null)))));
  }
  return make("pre", { textContent: JSON.stringify(value, null, 2) });
}

function complain(answer) {
  const faults = answer.details ?? [], homeless = [];
  for (const { path, problem } of faults) {
    const owner = mode() === "fields" && fields.find((one) => path === one.path || (path.startsWith(one.path) && ".[".includes(path[one.path.length])));
    if (!owner) { homeless.push(`${path}: ${problem}`); continue; }
    owner.box.classList.add("bad");
    owner.control.setAttribute("aria-invalid", "true");
    owner.why.textContent = problem;
    owner.why.hidden = owner.box.hidden = false;
  }
  const placed = faults.length - homeless.length;
  at("problem").replaceChildren(placed && !homeless.length ? (placed === 1 ? "One field has to be mended." : `${placed} fields have to be mended.`) : answer.message ?? "The server refused this.");
  if (homeless.length > 1) at("problem").append(make("ul", {}, ...homeless.map((line) => make("li", { textContent: line }))));
  at("problem").hidden = false;
  document.querySelector(".bad :is(input, select, textarea)")?.focus();
}

async function predict(event) {
  event?.preventDefault();
  if (!info) return; // there is nothing to send yet
  const mine = ++sending;
  fields.forEach(clear);
  at("problem").hidden = true;
  at("go").setAttribute("aria-busy", "true");
  const began = performance.now();
  try {
    const response = await ask(target(), { method: "POST", headers: { "Content-Type": "application/json" }, body: body() });
    const sent = await response.text();
    if (mine !== sending) return;
    at("latency").textContent = `${(performance.now() - began).toFixed(1)} ms`;
    const answer = JSON.parse(sent, asWritten);
    if (!response.ok) {
      at("result").replaceChildren(make("p", { className: "failed", textContent: `No prediction: ${response.status} ${answer.error_code ?? response.statusText}` }));
      complain(answer);
      if (response.status === 401) lock();
    } else at("result").replaceChildren(drawn(answer && typeof answer === "object" && "predictions" in answer ? answer.predictions : answer));
  } catch (error) {
    at("latency").textContent = "";
    at("result").replaceChildren(make("p", { className: "failed", textContent: error instanceof SyntaxError ? "The answer is not JSON." : "The server does not answer." }));
  } finally {
    if (mine === sending) at("go").removeAttribute("aria-busy");
  }
}

async function state() {
  try {
    const answer = await (await fetch("readyz")).json();
    at("state").textContent = answer.status;
    at("state").className = `state ${answer.status === "ready" ? "ready" : "down"}`;
  } catch {
    at("state").textContent = "not reachable";
    at("state").className = "state down";
  }
}

async function start() {
  state();
  const answer = await ask("info");
  if (answer.status === 401) {
    lock();
    return;
  }
  if (!answer.ok) { // the model loads
    setTimeout(start, 1000);
    return;
  }
  const described = await answer.text();
  if (info) return; // the button was pressed twice
  info = { ...JSON.parse(described), example: JSON.parse(described, asWritten).example }
  document.querySelector("main").hidden = false;
  head();
  build();
  state();
}

at("form").addEventListener("submit", predict);
at("door").addEventListener("submit", (event) => {
  event.preventDefault();
  say("refused", "");
  if (!info) start();
});
for (const link of document.querySelectorAll("footer a")) link.addEventListener("click", async (event) => {
  if (!locked()) return;
  event.preventDefault();
  open(URL.createObjectURL(await (await ask(link.href)).blob()));
});
at("body").addEventListener("input", showCurl);
for (const radio of document.querySelectorAll("input[name=mode]")) radio.addEventListener("change", () => {
  if (mode() === "json") {
    document.querySelector("input[value=fields]").checked = true;
    try { at("body").value = JSON.stringify(JSON.parse(body(), asWritten), null, 2); } catch { at("body").value = body(); }
    document.querySelector("input[value=json]").checked = true;
  }
  show();
});
at("filter").addEventListener("input", (event) => {
  const wanted = event.target.value.trim().toLowerCase();
  for (const one of fields) if (!one.param) one.box.hidden = !one.label.toLowerCase().includes(wanted);
});
at("copy").addEventListener("click", async () => {
  try { await navigator.clipboard.writeText(at("curl").textContent); } catch { // without TLS a page has no clipboard: the text is marked instead
    getSelection().selectAllChildren(at("curl"));
    document.execCommand("copy");
  }
  at("copy").textContent = "Copied";
  setTimeout(() => { at("copy").textContent = "Copy"; }, 1500);
});
addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) predict(event);
  else if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && !at("filter-label").hidden) { event.preventDefault(); at("filter").focus(); }
});
start();
