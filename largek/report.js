// Draws the page from the data embedded in it. What models wrote reaches the page as text nodes only.
"use strict";

const ROWS = 25; // of a table at a time: the page stays small however many there are
const byId = (id) => document.getElementById(id);
let data; // the summary, see largek/report.py
let texts = []; // of the samples, as far as they are unpacked
let folded = []; // the same in lower case, for searching
let scope; // {split, task}: what the scores are of; the task "mean" stands for all
let matrixOrder = { key: "share", down: false, page: 0 };
let found = []; // numbers of the samples that the filters let through
let listPage = 0;
let current = null; // the number of the sample that is shown

// --- Elements. Strings among the children become text nodes.

function fill(node, attributes, ...children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("--")) node.style.setProperty(name, value);
    else if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}
const element = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, ...children);
const shape = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, ...children);
const swatch = (color) => element("span", { class: "swatch", "--color": color });
const modelColor = (model) => `var(--m${model % 8})`;
const modelName = (model) => element("span", { class: "name" }, data.models[model]);
const outcomeColor = (outcome) => `var(--${data.outcomes[outcome]})`;
const outcomeName = (outcome) => data.outcomes[outcome].replace("_", " ");

const whole = (number) => number.toLocaleString("en-US");
const score = (number) => (number === null ? "–" : number.toFixed(3));
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
const average = (numbers) => (numbers.length ? sum(numbers) / numbers.length : null);
const plural = (number, what) => `${whole(number)} ${what}${number === 1 ? "" : "s"}`;

function withInterval(point, low, high) {
  if (point === null || low === null) return [score(point)];
  return [score(point), element("small", {}, `[${score(low)}, ${score(high)}]`)];
}
const passAt = (curve, at) => withInterval(curve.estimate[at], curve.lo[at], curve.hi[at]);
const majAt = (curve, at) => withInterval(curve.maj[at], curve.maj_lo[at], curve.maj_hi[at]);

function table(id, headings, rows) {
  const head = headings.map((heading) => element("th", { scope: "col" }, heading));
  byId(id).replaceChildren(
    element("thead", {}, element("tr", {}, ...head)),
    element("tbody", {}, ...rows.map((cells) => element("tr", {}, ...cells.map(cellOf))))
  );
}
const cellOf = (content) =>
  content instanceof HTMLTableCellElement ? content : element("td", {}, ...[content].flat());
const textCell = (...content) => element("td", { class: "text" }, element("div", { class: "cut" }, ...content));

// --- The data

async function unpack(script) {
  const letters = atob(JSON.parse(script.textContent));
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

const joined = (text) => (typeof text === "string" ? text : `${text[0]}\n${text[2]}`); // of [beginning, left out, end]
const shortened = (text) => (typeof text === "string" ? text : `${text[0]} … ${text[2]}`);
const tasksOf = (split) => [
  ...new Set(data.groups.filter((group) => group.split === split).map((group) => group.task)),
];
const groupsOf = (model) =>
  data.groups.filter(
    (group) => group.model === model && group.split === scope.split && ["mean", group.task].includes(scope.task)
  );
const unknown = (model, what) =>
  data.stores.some((store) => store.models.includes(data.models[model]) && store.unknown.includes(what));
const modelsInScope = () => data.models.map((_, model) => model).filter((model) => groupsOf(model).length);
const curveOf = (model) =>
  data.curves.find((curve) => curve.model === model && curve.split === scope.split && curve.task === scope.task);
const problemsInScope = () =>
  data.problems.id
    .map((_, problem) => problem)
    .filter((problem) => data.problems.split[problem] === scope.split)
    .filter((problem) => ["mean", data.problems.task[problem]].includes(scope.task));

// --- Scores

function drawScores() {
  const models = modelsInScope();
  const ks = [...new Set(models.flatMap((model) => curveOf(model).k))].sort((a, b) => a - b);
  const slider = byId("k");
  if (slider.max !== String(ks.length - 1)) fill(slider, { max: ks.length - 1 }).value = ks.length - 1;
  const k = ks[slider.value];
  slider.setAttribute("aria-valuetext", `k = ${k}`);
  byId("k-value").textContent = `= ${k}`;
  byId("curves").replaceChildren(curvesOf(models, ks, k, byId("maj").checked));
  table(
    "legend",
    ["model", "n", `pass@${k}`, `maj@${k}`],
    models.map((model) => {
      const curve = curveOf(model);
      const at = curve.k.indexOf(k);
      return [
        [swatch(modelColor(model)), modelName(model)],
        whole(curve.n),
        ...(at < 0 ? [k > curve.n ? "k > n" : "–", ""] : [passAt(curve, at), majAt(curve, at)]),
      ];
    })
  );
  table(
    "scores-table",
    ["model", "problems", "n", "coverage", "pass@1", "pass@n", "maj@n", "truncated", "no answer", "tokens, mean"],
    models.map((model) => {
      const [curve, parts] = [curveOf(model), groupsOf(model)];
      const last = curve.k.length - 1;
      const answers = sum(parts.flatMap((part) => part.outcomes));
      const share = (name) => percent(sum(parts.map((part) => part.outcomes[data.outcomes.indexOf(name)])) / answers);
      const known = sum(parts.map((part) => part.known));
      return [
        [swatch(modelColor(model)), modelName(model)],
        whole(sum(parts.map((part) => part.problems))),
        whole(curve.n),
        percent(curve.coverage),
        passAt(curve, 0),
        passAt(curve, last),
        majAt(curve, last),
        unknown(model, "finish") ? "–" : share("truncated"),
        share("no_answer"),
        known ? whole(Math.round(sum(parts.map((part) => part.tokens)) / known)) : "–",
      ];
    })
  );
}

/** pass@k against k on a logarithmic scale. Drawn as wide as it is shown, so that letters keep their size. */
function curvesOf(models, ks, chosen, withMaj) {
  const [width, height] = [byId("curves").clientWidth || 700, 340];
  const [left, right, top, bottom] = [52, 14, 12, 44];
  const most = ks.at(-1);
  const highest = Math.max(...models.flatMap((model) => [...curveOf(model).hi, ...curveOf(model).estimate]));
  const ceiling = [0.1, 0.2, 0.5, 1].find((value) => value >= highest) ?? 1;
  const x = (k) => left + (most > 1 ? Math.log(k) / Math.log(most) : 0.5) * (width - left - right);
  const y = (value) => height - bottom - (value / ceiling) * (height - top - bottom);
  const drawn = [];
  for (let step = 0; step <= 5; step++) {
    const value = (ceiling * step) / 5;
    drawn.push(shape("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
    const label = value.toFixed(ceiling < 0.5 ? 2 : 1);
    drawn.push(shape("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, label));
  }
  const step = most > 2 ** 8 && width < 520 ? 4 : 2;
  for (let k = 1; k <= most; k *= step) {
    drawn.push(shape("line", { class: "axis", x1: x(k), x2: x(k), y1: y(0), y2: y(0) + 4 }));
    drawn.push(shape("text", { x: x(k), y: y(0) + 18, "text-anchor": "middle" }, String(k)));
  }
  const middle = (height - bottom + top) / 2;
  drawn.push(
    shape("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" },
      "k, samples a problem (logarithmic)"),
    shape("text", { transform: `translate(14 ${middle}) rotate(-90)`, "text-anchor": "middle" },
      withMaj ? "pass@k, maj@k" : "pass@k"),
    shape("line", { class: "cursor", x1: x(chosen), x2: x(chosen), y1: top, y2: y(0) })
  );
  for (const model of models) {
    const curve = curveOf(model);
    const line = (values) => curve.k.map((k, i) => [x(k), y(values[i])].map((number) => number.toFixed(1)).join());
    const color = { "--color": modelColor(model) };
    const band = [...line(curve.hi), ...line(curve.lo).reverse()].join(" ");
    drawn.push(shape("polygon", { class: "band", points: band, ...color }));
    drawn.push(shape("polyline", { class: "curve", points: line(curve.estimate).join(" "), ...color }));
    if (withMaj && curve.maj[0] !== null) {
      drawn.push(shape("polyline", { class: "curve second", points: line(curve.maj).join(" "), ...color }));
    }
    const at = curve.k.indexOf(chosen);
    if (at < 0) continue;
    drawn.push(shape("circle", { class: "dot", cx: x(chosen), cy: y(curve.estimate[at]), r: 4, ...color }));
  }
  const label = `pass@k of ${plural(models.length, "model")} for k from 1 to ${most}; numbers in the table beside it`;
  const drawing = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, ...drawn);
  drawing.addEventListener("pointermove", (event) => {
    const place = (event.offsetX / drawing.clientWidth) * width;
    const nearest = ks.reduce((best, k, i) => (Math.abs(x(k) - place) < Math.abs(x(ks[best]) - place) ? i : best), 0);
    if (byId("k").value === String(nearest)) return;
    byId("k").value = nearest;
    drawScores();
  });
  return drawing;
}

// --- During training

function drawTraining() {
  const runs = data.training ?? [];
  byId("training").hidden = document.querySelector('nav a[href="#training"]').hidden = !runs.length;
  if (!runs.length) return;
  byId("trainings").replaceChildren(
    ...runs.map((run) => {
      const key = run.ks.map((k, i) => element("li", {}, swatch(modelColor(i)), `pass@${k}`));
      return element("div", {}, element("h3", {}, run.name), element("ul", { class: "key" }, ...key), stepsOf(run));
    })
  );
  table(
    "training-table",
    ["file", "step", ...runs[0].ks.map((k) => `pass@${k}`), "mixed groups", "entropy", "truncated"],
    runs.flatMap((run) =>
      run.rows.map((row) => [
        element("span", { class: "name" }, run.name),
        whole(row.step) + (row.step === run.best ? " (kept)" : ""),
        ...runs[0].ks.map((k) => withInterval(row[`pass@${k}`] ?? null, row[`pass@${k}_lo`], row[`pass@${k}_hi`])),
        withInterval(row.mixed, row.mixed_lo, row.mixed_hi),
        score(row.entropy),
        percent(row.truncated),
      ])
    )
  );
}

/** pass@k against steps, a band for the interval of each k. */
function stepsOf(run) {
  const [width, height, left, right, top, bottom] = [400, 230, 40, 18, 10, 40];
  const last = Math.max(...run.rows.map((row) => row.step), 1);
  const x = (step) => left + (step / last) * (width - left - right);
  const y = (value) => height - bottom - value * (height - top - bottom);
  const drawn = [];
  for (const value of [0, 0.2, 0.4, 0.6, 0.8, 1]) {
    drawn.push(shape("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
    drawn.push(shape("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(1)));
  }
  for (const step of new Set([0, Math.round(last / 2), last])) {
    drawn.push(shape("text", { x: x(step), y: height - bottom + 16, "text-anchor": "middle" }, whole(step)));
  }
  drawn.push(shape("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, "steps"));
  run.ks.forEach((k, i) => {
    const color = { "--color": modelColor(i) };
    const line = (name) => run.rows.map((row) => `${x(row.step).toFixed(1)},${y(row[name]).toFixed(1)}`);
    const band = [...line(`pass@${k}_hi`), ...line(`pass@${k}_lo`).reverse()].join(" ");
    drawn.push(shape("polygon", { class: "band", points: band, ...color }));
    drawn.push(shape("polyline", { class: "curve", points: line(`pass@${k}`).join(" "), ...color }));
    for (const row of run.rows) {
      const place = { cx: x(row.step), cy: y(row[`pass@${k}`]), ...color };
      drawn.push(shape("circle", { class: "dot", r: 2.5, ...place }));
      if (row.step === run.best) drawn.push(shape("circle", { class: "curve", r: 6, ...place }));
    }
  });
  const label = `pass@k over ${whole(last)} steps of ${run.name}; numbers in the table below`;
  return shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, ...drawn);
}

// --- Outcomes and lengths

function drawOutcomes() {
  const key = data.outcomes.map((_, outcome) => element("li", {}, swatch(outcomeColor(outcome)), outcomeName(outcome)));
  byId("outcome-key").replaceChildren(...key);
  table(
    "outcome-bars",
    ["model", "answers", ""],
    modelsInScope().map((model) => {
      const counts = data.outcomes.map((_, outcome) => sum(groupsOf(model).map((part) => part.outcomes[outcome])));
      const answers = sum(counts);
      const said = counts.map(
        (count, outcome) => `${outcomeName(outcome)} ${whole(count)} (${percent(count / answers)})`
      );
      const parts = counts.map((count, outcome) => {
        const share = count / answers;
        const label = share > 0.1 ? percent(share) : "";
        return element("span", { "--share": share, "--color": outcomeColor(outcome), title: said[outcome] }, label);
      });
      const bar = element("div", { class: "bar", role: "img", "aria-label": said.join(", ") }, ...parts);
      return [modelName(model), whole(answers), bar];
    })
  );
}

/** Against the first model, at 16 or as near below it as there is. */
function drawChanges() {
  const inScope = data.coverage.filter((row) => row.split === scope.split && row.task === scope.task);
  const k = Math.max(...inScope.map((row) => row.k).filter((each) => each <= 16));
  const rows = inScope.filter((row) => row.k === k);
  byId("changes").hidden = document.querySelector('nav a[href="#changes"]').hidden = !rows.length;
  if (!rows.length) return;
  byId("changes-of").textContent = `pass@${k} against ${data.models[0]}`;
  const color = (outcome) => outcomeColor(data.outcomes.indexOf(outcome));
  const most = Math.max(...rows.flatMap((row) => [row.lost, row.gained]), 1e-9);
  const bound = (value) => (value === null ? "∞" : value.toFixed(2));
  table(
    "changes-table",
    ["model", "lost", "gained", "lost / gained", ""],
    rows.map((row) => {
      const part = (share, fill) => element("span", { "--share": share / most / 2, "--color": fill });
      const said = `lost ${score(row.lost)}, gained ${score(row.gained)}`;
      const parts = [part(most - row.lost, "transparent"), part(row.lost, color("wrong"))];
      parts.push(part(row.gained, color("correct")), part(most - row.gained, "transparent"));
      const interval = element("small", {}, `[${bound(row.ratio_lo)}, ${bound(row.ratio_hi)}]`);
      return [
        modelName(row.model),
        withInterval(row.lost, row.lost_lo, row.lost_hi),
        withInterval(row.gained, row.gained_lo, row.gained_hi),
        [row.ratio === null && !row.ratio_lo ? "?" : bound(row.ratio), interval],
        element("div", { class: "bar", role: "img", "aria-label": said }, ...parts),
      ];
    })
  );
}

function drawLengths() {
  byId("histograms").replaceChildren(
    ...modelsInScope().map((model) => {
      const parts = groupsOf(model);
      const known = sum(parts.map((part) => part.known));
      const title = element("h3", {}, modelName(model));
      if (!known) return element("div", {}, title, element("p", {}, "The engine reported no token counts."));
      return element("div", {}, title, histogramOf(model, parts, known));
    })
  );
}

/** Answers by length, outcomes on top of each other. All models share the axis of tokens. */
function histogramOf(model, parts, known) {
  const [width, height, left, right, top, bottom] = [400, 190, 48, 18, 22, 40];
  const bins = parts[0].lengths[0].length;
  const most = bins * data.bin; // tokens
  const stacks = data.outcomes.map((_, outcome) =>
    Array.from({ length: bins }, (_, bin) => sum(parts.map((part) => part.lengths[outcome][bin])))
  );
  const tallest = Math.max(...Array.from({ length: bins }, (_, bin) => sum(stacks.map((stack) => stack[bin]))));
  const x = (tokens) => left + (tokens / most) * (width - left - right);
  const y = (share) => height - bottom - (share / (tallest / known)) * (height - top - bottom);
  const drawn = [shape("line", { class: "axis", x1: left, x2: width - right, y1: y(0), y2: y(0) })];
  for (let bin = 0; bin < bins; bin++) {
    let below = 0;
    stacks.forEach((stack, outcome) => {
      if (!stack[bin]) return;
      const [low, high] = [y(below / known), y((below + stack[bin]) / known)];
      const across = { x: x(bin * data.bin), width: x(data.bin) - x(0) - 0.7 };
      const color = { class: "part", "--color": outcomeColor(outcome) };
      drawn.push(shape("rect", { ...color, ...across, y: high, height: low - high }));
      below += stack[bin];
    });
  }
  const power = 10 ** Math.floor(Math.log10(most));
  const tick = Math.max([0.1, 0.2, 0.5, 1, 2].map((part) => part * power).find((each) => most / each <= 6), 1);
  for (let tokens = 0; tokens <= most; tokens += tick) {
    drawn.push(shape("text", { x: x(tokens), y: height - bottom + 16, "text-anchor": "middle" }, whole(tokens)));
  }
  drawn.push(shape("text", { x: left - 6, y: y(tallest / known) + 4, "text-anchor": "end" }, percent(tallest / known)));
  drawn.push(shape("text", { x: left - 6, y: y(0), "text-anchor": "end" }, "0"));
  const unit = data.bin === 1 ? "tokens" : `tokens, in steps of ${data.bin}`;
  drawn.push(shape("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, unit));
  const turned = `translate(12 ${(height - bottom + top) / 2}) rotate(-90)`;
  drawn.push(shape("text", { transform: turned, "text-anchor": "middle" }, "answers"));
  const caps = capsOf(model);
  for (const cap of caps.filter((cap) => cap <= most)) {
    drawn.push(shape("line", { class: "cap", x1: x(cap), x2: x(cap), y1: top - 6, y2: y(0) }));
    const anchor = x(cap) > width / 2 ? "end" : "start";
    const place = { class: "cap-label", x: x(cap), y: top - 10, "text-anchor": anchor };
    drawn.push(shape("text", place, `cap ${whole(cap)}`));
  }
  const capped = caps.length ? `, cap ${caps.map(whole).join(", ")} tokens` : "";
  const label = `Lengths of ${whole(known)} answers${capped}`;
  return shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, ...drawn);
}

function capsOf(model) {
  const stores = data.stores.filter((store) => store.models.includes(data.models[model]));
  return [...new Set(stores.map((store) => store.max_tokens).filter((cap) => cap))].sort((a, b) => a - b);
}

// --- Problems

const shareOf = (model, problem) => {
  const n = data.problems.n[model][problem];
  return n ? data.problems.correct[model][problem] / n : null;
};
const sharesOf = (problem) => data.models.map((_, model) => shareOf(model, problem)).filter((share) => share !== null);

function drawMatrix() {
  const [problems, models, order] = [problemsInScope(), modelsInScope(), matrixOrder];
  const tasks = tasksOf(scope.split).length > 1 && scope.task === "mean";
  const valueOf = {
    id: (problem) => data.problems.id[problem],
    task: (problem) => data.problems.task[problem],
    gold: (problem) => joined(data.problems.answer[problem]),
    share: (problem) => average(sharesOf(problem)),
  };
  models.forEach((model) => (valueOf[model] = (problem) => shareOf(model, problem)));
  const value = new Map(problems.map((problem) => [problem, (valueOf[order.key] ?? valueOf.share)(problem)]));
  const compare = (one, two) =>
    typeof one === "string" ? one.localeCompare(two, "en", { numeric: true }) : (one ?? 2) - (two ?? 2); // gaps last
  problems.sort((one, two) => (order.down ? -1 : 1) * compare(value.get(one), value.get(two)) || one - two);
  drawSolved(problems, models);

  const columns = [["id", "problem"], ...(tasks ? [["task", "task"]] : []), ["gold", "gold answer"]];
  columns.push(...models.map((model) => [model, data.models[model]]));
  if (models.length > 1) columns.push(["share", "all models"]);
  const headings = columns.map(([key, name]) => {
    const sorted = key === order.key || (key === models[0] && models.length === 1 && order.key === "share");
    const button = element("button", { type: "button" }, element("span", { class: "name" }, name));
    button.addEventListener("click", () => {
      matrixOrder = { key, down: sorted && !order.down, page: 0 };
      drawMatrix();
      byId("matrix").querySelector("th[aria-sort] button").focus();
    });
    const direction = sorted ? (order.down ? "descending" : "ascending") : null;
    const kind = ["id", "task", "gold"].includes(key) ? "text" : null;
    return element("th", { scope: "col", "aria-sort": direction, class: kind }, button);
  });
  const shown = problems.slice(order.page * ROWS, (order.page + 1) * ROWS);
  const rows = shown.map((problem) => {
    const cells = columns.map(([key]) => {
      if (key === "id") return cellWithButton(data.problems.id[problem], () => showSamples({ problem }), "th");
      if (key === "share") return element("td", {}, percent(average(sharesOf(problem))));
      if (key === "task" || key === "gold") return textCell(valueOf[key](problem));
      const share = shareOf(key, problem);
      if (share === null) return element("td", { class: "none", title: "not in its store" }, "–");
      const [correct, n] = [data.problems.correct[key][problem], data.problems.n[key][problem]];
      const cell = cellWithButton(`${correct}/${n}`, () => showSamples({ problem, model: key }));
      return fill(cell, { class: correct ? "heat" : "heat none", "--share": share });
    });
    return element("tr", {}, ...cells);
  });
  byId("matrix").replaceChildren(
    element("thead", {}, element("tr", {}, ...headings)), element("tbody", {}, ...rows)
  );
  drawPager("matrix-pager", problems.length, order.page, (page) => {
    order.page = page;
    drawMatrix();
  });
}

function cellWithButton(text, action, tag = "td") {
  const button = element("button", { type: "button", class: "cut", title: text.slice(0, 300) }, text);
  button.addEventListener("click", action);
  return element(tag, tag === "th" ? { scope: "row" } : {}, button);
}

function drawSolved(problems, models) {
  const solvers = problems.map((problem) => models.filter((model) => shareOf(model, problem) > 0));
  const gaps = problems.filter((problem) => sharesOf(problem).length < models.length).length;
  const none = solvers.filter((some) => !some.length).length;
  const always = problems.filter((problem) => sharesOf(problem).every((share) => share === 1)).length;
  const all = plural(problems.length, "problem");
  const said = [`Of ${all}, ${whole(none)} are never solved and ${whole(always)} always.`];
  if (models.length > 1) {
    const parts = models.map((model) => {
      const solved = solvers.filter((some) => some.includes(model)).length;
      const alone = solvers.filter((some) => some.length === 1 && some[0] === model).length;
      return `${data.models[model]} solves ${whole(solved)} at least once, ${whole(alone)} of them alone`;
    });
    said.push(`${parts.join("; ")}.`);
  }
  if (gaps) said.push(`${whole(gaps)} of them are not in the stores of all models; a dash marks the gap.`);
  byId("solved").textContent = said.join(" ");
}

function drawPager(id, total, page, turn) {
  const last = Math.max(Math.ceil(total / ROWS) - 1, 0);
  const button = (text, to) => {
    const made = element("button", { type: "button" }, text);
    made.disabled = to < 0 || to > last;
    made.addEventListener("click", () => {
      turn(to);
      const again = [...byId(id).querySelectorAll("button")].find((other) => other.textContent === text);
      again.focus(); // the button that was pressed has been drawn anew
    });
    return made;
  };
  const [first, end] = [page * ROWS + 1, Math.min((page + 1) * ROWS, total)];
  const range = total ? `${whole(first)}–${whole(end)} of ${whole(total)}` : "none";
  byId(id).replaceChildren(button("Previous", page - 1), range, button("Next", page + 1));
}

// --- Samples

function showSamples({ problem, model = "" }) {
  for (const field of byId("filters").querySelectorAll("input, select")) field.value = "";
  byId("problem").value = data.problems.id[problem];
  byId("model").value = model;
  if (data.problems.id.filter((id) => id === data.problems.id[problem]).length > 1) {
    byId("task").value = data.tasks.indexOf(data.problems.task[problem]); // another task has a problem of this name
  }
  filter();
  byId("samples").scrollIntoView();
  byId("list").querySelector("button")?.focus({ preventScroll: true });
}

/** A problem is meant by its whole id, else by a part of ids. */
function filter() {
  const [wanted, id] = [byId("search").value.toLowerCase(), byId("problem").value];
  const [outcome, model, task] = ["outcome", "model", "task"].map((name) => byId(name).value);
  const samples = data.samples;
  const inField = (text) => text.replace(/[\r\n]/g, ""); // as a field holds it
  const exact = data.problems.id.some((other) => inField(other) === id);
  const inside = data.problems.id.map(
    (other, problem) =>
      (exact ? inField(other) === id : other.includes(id)) &&
      (task === "" || data.problems.task[problem] === data.tasks[task])
  );
  found = [];
  for (let i = 0; i < samples.model.length; i++) {
    if (outcome !== "" && samples.outcome[i] !== Number(outcome)) continue;
    if (model !== "" && samples.model[i] !== Number(model)) continue;
    if (!inside[samples.problem[i]]) continue;
    if (wanted && !folded[i]?.includes(wanted)) continue;
    found.push(i);
  }
  listPage = 0;
  drawList();
  show(found[0] ?? null);
  sayFound();
}

function sayFound() {
  const loading = texts.length < data.samples.model.length ? `, texts still loading` : "";
  const { all, texts: held } = data.held;
  const rest = held < all ? `; the page holds the texts of ${whole(held)} of ${whole(all)} samples` : "";
  byId("found").textContent = `${plural(found.length, "sample")} of ${whole(held)}${rest}${loading}.`;
}

function drawList() {
  const samples = data.samples;
  const headings = ["problem", "sample", "outcome", "model", "read", "gold", "tokens"];
  const rows = found.slice(listPage * ROWS, (listPage + 1) * ROWS).map((i) => {
    const problem = samples.problem[i];
    const open = cellWithButton(data.problems.id[problem], () => show(i, true), "th");
    open.firstChild.addEventListener("keydown", (event) => {
      if (["ArrowDown", "ArrowUp"].includes(event.key)) {
        event.preventDefault();
        step(event.key === "ArrowDown" ? 1 : -1);
        byId("list").querySelector(".current button")?.focus();
      }
    });
    return [
      open,
      whole(samples.sample[i]),
      element("td", { class: "text" }, badge(samples.outcome[i])),
      textCell(swatch(modelColor(samples.model[i])), data.models[samples.model[i]]),
      textCell(samples.extracted[i] === null ? "" : shortened(samples.extracted[i])),
      textCell(shortened(data.problems.answer[problem])),
      samples.tokens[i] === null ? "–" : whole(samples.tokens[i]),
    ];
  });
  table("list", headings, rows);
  byId("list").querySelectorAll("th[scope=col]").forEach((th, i) => th.classList.toggle("text", ![1, 6].includes(i)));
  byId("list").querySelectorAll("tbody tr").forEach((row, i) => (row.dataset.sample = found[listPage * ROWS + i]));
  markCurrent();
  drawPager("list-pager", found.length, listPage, (page) => {
    listPage = page;
    drawList();
    show(found[page * ROWS] ?? null);
  });
}

const badge = (outcome) => element("span", { class: "badge", "--color": outcomeColor(outcome) }, outcomeName(outcome));

function markCurrent() {
  for (const row of byId("list").querySelectorAll("tbody tr")) {
    const here = row.dataset.sample === String(current);
    row.classList.toggle("current", here);
    row.querySelector("button").setAttribute("aria-current", here);
  }
}

/** The sample before or after the current one, on another page of the list if need be. */
function step(by) {
  const place = found.indexOf(current) + by;
  if (place < 0 || place >= found.length) return;
  listPage = Math.floor(place / ROWS);
  drawList();
  show(found[place], true);
}

/** Why the verdict is what it is. */
function reasonOf(i) {
  const [sound, tokens] = [data.samples.sound[i], data.samples.tokens[i]];
  const when = tokens === null ? "" : ` after ${plural(tokens, "token")}`;
  const reasons = {
    correct: "What was read as its answer says the same as the gold answer.",
    wrong: "What was read as its answer is not what the gold answer says.",
    no_answer: "No answer could be read from the text.",
    truncated: `It was cut${when}, before it had ended. What can be read from it is not held to be an answer.`,
    gave_up: "The comparison with the gold answer took too long, or what was read is too long to compare.",
  };
  const working = sound === null ? "" : sound ? " Its working is sound." : " Its working is not sound.";
  const where = marksAnswer(i) ? " It is marked in the text." : "";
  return reasons[data.outcomes[data.samples.outcome[i]]] + where + working;
}

function marksAnswer(i) {
  const extracted = data.samples.extracted[i];
  const end = [texts[i] ?? ""].flat().at(-1);
  return typeof extracted === "string" && extracted !== "" && end.includes(extracted);
}

function show(i, scroll = false) {
  current = i;
  markCurrent();
  const article = byId("sample");
  if (i === null) return article.replaceChildren(element("p", {}, "No sample is like this."));
  const [samples, problem] = [data.samples, data.samples.problem[i]];
  const place = found.indexOf(i);
  const button = (text, by) => {
    const made = element("button", { type: "button" }, text);
    made.disabled = found[place + by] === undefined;
    made.addEventListener("click", () => {
      step(by);
      [...article.querySelectorAll("button")].find((other) => other.textContent === text).focus();
    });
    return made;
  };
  const others = element("button", { type: "button" }, "All samples of this problem");
  others.addEventListener("click", () => showSamples({ problem }));
  const scores = data.models
    .map((_, model) => [model, data.problems.correct[model][problem], data.problems.n[model][problem]])
    .filter(([, , n]) => n)
    .map(([model, correct, n]) => `${data.models[model]} ${correct}/${n}`);
  const facts = [
    data.problems.task[problem],
    `sample ${samples.sample[i]}`,
    samples.tokens[i] === null ? null : plural(samples.tokens[i], "token"),
    samples.finish[i] === null ? null : `ended by ${samples.finish[i]}`,
  ];
  const box = (text, ...marks) => element("div", { class: "box" }, ...marked(text, ...marks));
  const read = samples.extracted[i];
  const nothing = element("div", { class: "box" }, element("span", { class: "left-out" }, "none"));
  const waiting = element("p", { class: "waiting" }, "Unpacking …");
  article.replaceChildren(
    element("div", { class: "head" }, button("Previous", -1), button("Next", 1), others),
    element("h3", {}, element("span", { class: "name" }, data.problems.id[problem])),
    element("div", { class: "head" }, badge(samples.outcome[i]),
      element("span", {}, swatch(modelColor(samples.model[i])), modelName(samples.model[i])),
      facts.filter((fact) => fact).join(" · ")),
    element("p", { class: "why" }, reasonOf(i)),
    element("div", { class: "answers" },
      element("div", {}, element("h3", {}, "Gold answer"), box(data.problems.answer[problem])),
      element("div", {}, element("h3", {}, "Read as answer"), read === null ? nothing : box(read))),
    element("h3", {}, "Problem"), box(data.problems.text[problem]),
    element("h3", {}, "Answer of the model"),
    texts[i] === undefined ? waiting : box(texts[i], byId("search").value, read),
    element("p", {}, `Correct of all its samples: ${scores.join(", ")}.`)
  );
  article.scrollTop = 0;
  if (scroll && matchMedia("(max-width: 60rem)").matches) article.scrollIntoView({ block: "nearest" });
}

/** Text nodes with every hit of a search in a mark, and the last place of what was read as the answer in another. */
function marked(text, search = "", extracted = null) {
  if (typeof text !== "string") {
    const left = `\n… ${whole(text[1])} characters are left out of this page …\n`;
    const gap = element("span", { class: "left-out" }, left);
    return [...marked(text[0], search), gap, ...marked(text[2], search, extracted)];
  }
  const spots = [];
  const lower = text.toLowerCase();
  const read = typeof extracted === "string" && extracted ? text.lastIndexOf(extracted) : -1;
  if (read >= 0) spots.push([read, read + extracted.length, "read"]);
  const wanted = search.toLowerCase();
  // a few letters change their length in lower case, and then places do not match
  if (wanted && lower.length === text.length) {
    let at = lower.indexOf(wanted);
    while (at >= 0 && spots.length < 1000) {
      const end = at + wanted.length;
      if (read < 0 || end <= read || at >= read + extracted.length) spots.push([at, end, null]);
      at = lower.indexOf(wanted, end);
    }
  }
  spots.sort((one, two) => one[0] - two[0]);
  const nodes = [];
  let place = 0;
  for (const [start, end, kind] of spots) {
    nodes.push(text.slice(place, start), element("mark", { class: kind }, text.slice(start, end)));
    place = end;
  }
  return [...nodes, text.slice(place)];
}

// --- About

function drawAbout() {
  const { all, texts: held, rounds, most, longest, short, clipped } = data.held;
  const said = [
    "All counts, curves, intervals, shares and lengths are of all samples; pass@k and maj@k are those of largek passk.",
  ];
  if (held === all) said.push(`The texts of all ${whole(all)} samples are in this page.`);
  else {
    said.push(
      `The texts of ${whole(held)} of ${whole(all)} samples are in this page, ${whole(all - held)} are left out. ` +
        "Taken are, of every model, problem and outcome, the first sample by its index, then the second, and so on " +
        `up to ${whole(most)} samples: at most ${whole(rounds)} of each. Filters and search look at these.`
    );
  }
  said.push(
    `Of a text longer than ${whole(longest)} characters the page has the beginning and the end, ` +
      `of what was read as an answer likewise from ${short} characters. ` +
      `${plural(clipped, "sample")} ${clipped === 1 ? "is" : "are"} cut so. The stores hold everything.`,
    ...data.notes.map((note) => `Answers are missing: ${note}.`),
    ...data.thoughts.map((line) => `${line}.`),
    ...data.lacking.map((line) => `${line}.`)
  );
  byId("held").replaceChildren(...said.map((line) => element("li", {}, line)));
  const name = (text) => element("span", { class: "name" }, text);
  const made = (store) => [store.engine, store.temperature, store.top_p, store.max_tokens, store.seed];
  const yesNo = { true: "yes", false: "no" };
  table(
    "stores",
    ["store", "model", "engine", "temperature", "top-p", "max. tokens", "seed", "chat template", "others", "verifier"],
    data.stores.map((store) => [
      name(store.store),
      name(store.models.join(", ") || "no answers"),
      ...made(store).map((value) => String(value ?? "–")),
      yesNo[store.chat_template] ?? "–",
      name(store.others || "–"),
      name(store.verifiers.join(", ") || "–"),
    ])
  );
}

// --- The page

function drawScope() {
  const mean = scope.task === "mean" && tasksOf(scope.split).length > 1;
  const what = [];
  if (data.splits.length > 1) what.push(`split ${scope.split}`);
  if (scope.task !== "mean") what.push(`task ${scope.task}`);
  document.querySelectorAll(".scope-name").forEach((note) => {
    const means = note.classList.contains("pooled") ? "all tasks together" : "unweighted mean over tasks";
    const parts = [...what, ...(mean ? [means] : [])];
    note.textContent = parts.length ? `Shown: ${parts.join(", ")}.` : "";
  });
  drawScores();
  drawOutcomes();
  drawChanges();
  drawLengths();
  matrixOrder.page = 0;
  drawMatrix();
}

function setUp() {
  data.splits = [...new Set(data.groups.map((group) => group.split))];
  data.tasks = [...new Set(data.problems.task)];
  const scopes = data.splits.flatMap((split) => {
    const tasks = tasksOf(split);
    return ["mean", ...(tasks.length > 1 ? tasks : [])].map((task) => ({ split, task }));
  });
  scope = scopes[0];
  const named = ({ split, task }) =>
    [data.splits.length > 1 ? split : "", task === "mean" ? "all tasks" : task].filter((part) => part).join(": ");
  byId("scope").append(...scopes.map((each, i) => element("option", { value: i }, named(each))));
  byId("scope-label").hidden = scopes.length < 2;
  byId("scope").addEventListener("change", () => {
    scope = scopes[byId("scope").value];
    drawScope();
  });
  const choices = (id, names) => {
    const options = names.map((name, i) => element("option", { value: i }, name));
    byId(id).append(element("option", { value: "" }, "all"), ...options);
  };
  choices("outcome", data.outcomes.map((_, outcome) => outcomeName(outcome)));
  choices("model", data.models);
  choices("task", data.tasks);
  byId("filters").addEventListener("input", filter);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("reset", () => setTimeout(filter)); // when the fields are empty
  byId("k").addEventListener("input", drawScores);
  byId("maj").addEventListener("change", drawScores);
  new ResizeObserver(() => byId("curves").firstChild && drawScores()).observe(byId("curves"));
}

async function main() {
  data = await unpack(byId("summary"));
  drawTraining();
  if (!data.models.length) {
    const others = "main > section:not(#training), nav a:not([href='#training'])";
    document.querySelectorAll(others).forEach((part) => part.remove());
    byId("size").textContent = plural(data.training.length, "training");
    document.querySelector("main").hidden = false;
    return;
  }
  setUp();
  const { all } = data.held;
  const sizes = [plural(data.models.length, "model"), plural(data.problems.id.length, "problem")];
  byId("size").textContent = `${sizes.join(", ")}, ${plural(all, "graded sample")}.`;
  document.querySelector("main").hidden = false;
  drawScope();
  drawAbout();
  filter();
  for (const script of document.querySelectorAll("script.texts")) {
    const shard = await unpack(script);
    script.remove();
    texts = texts.concat(shard);
    folded = folded.concat(shard.map((text) => joined(text).toLowerCase()));
    if (byId("search").value) filter();
    else sayFound();
    if (byId("sample").querySelector(".waiting") && texts[current] !== undefined) show(current);
  }
}

main();
