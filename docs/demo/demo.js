"use strict";
/* The live demo: the exported interest extractor runs in the browser (ONNX Runtime Web), and the
   lists are exact searches over all item vectors. Nothing is sent anywhere. */

const COLORS = ["#3b82c4", "#d9722e", "#2f9e6e", "#b565c9", "#a8841a", "#d1495b", "#3a93a6", "#8a8f3c"];
const MATCHES = 8; // titles that the search offers
const LISTED = 8; // films of each list
/* The Chinese of the words of this file and of the page's controls, by the English ones. */
const CHINESE = {
  "Loading the model …": "正在加载模型……",
  "Films and model": "电影与模型",
  "Add a film by its title:": "按片名（英文）添加电影：",
  "Matching titles": "匹配的片名",
  "Interests K": "兴趣数 K",
  "Iterations r": "路由迭代次数 r",
  "compare with one vector": "与单个向量对比",
  "Remove all films": "清空已选电影",
  "Coupling coefficients": "耦合系数",
  "Add {film}": "添加 {film}",
  "Remove {film}": "移除 {film}",
  "new": "新",
  "Film": "电影",
  "Remove": "移除",
  "The list of one vector": "单个向量的推荐列表",
  "Films: {films}. Active interests (K'_u of Eq. 9): {active}. Computed in {time} ms.":
    "共 {films} 部电影，{active} 个兴趣（式 (9) 中的 K'_u），计算用时 {time} 毫秒。",
  "A browser does not load the model from a file: serve the site, for example by python -m http.server.":
    "浏览器无法从本地文件加载模型。请通过 HTTP 访问本站，例如运行 python -m http.server。",
  "The demo cannot start: {message}": "演示无法启动：{message}",
  "{file} is missing ({status})": "缺少文件 {file}（{status}）",
  "Profile that the demo assumes: {profile}.": "演示所用的用户画像：{profile}。",
  "The titles, genres and ratings are from MovieLens-1M (GroupLens, University of Minnesota), which may be used for research and may not be redistributed.":
    "片名、类型和评分来自 MovieLens-1M（明尼苏达大学 GroupLens），该数据集仅限研究使用，不得再分发。",
};
const root = document.getElementById("demo");
const at = (name) => document.querySelector(`[data-part="${name}"]`);
const folder = new URL(root.dataset.folder, document.baseURI).href;
const sessions = new Map();
let facts, table, dim, history, previous = null, turn = 0;

const element = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};

/* The text in the language of the page, with its {names} filled in. */
function say(text, values = {}) {
  const said = document.documentElement.lang.startsWith("zh") ? (CHINESE[text] ?? text) : text;
  return said.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/* Translate what the page itself says in the controls. */
function translateControls() {
  const words = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (words.nextNode()) {
    const text = words.currentNode.data.trim();
    if (text) words.currentNode.data = words.currentNode.data.replace(text, say(text));
  }
  for (const part of ["matches", "coupling"]) at(part).ariaLabel = say(at(part).ariaLabel);
}

/* Read a .npy file of float32 in row order. */
function parseNpy(buffer) {
  const bytes = new DataView(buffer);
  const long = bytes.getUint8(6) > 1;
  const start = long ? 12 + bytes.getUint32(8, true) : 10 + bytes.getUint16(8, true);
  const header = new TextDecoder().decode(buffer.slice(long ? 12 : 10, start));
  const [rows, columns] = header.match(/'shape': \((\d+), (\d+)\)/).slice(1).map(Number);
  return { rows, columns, values: new Float32Array(buffer.slice(start)) };
}

async function sessionOf(interests, iterations) {
  const name = `k${interests}-r${iterations}.onnx`;
  if (!sessions.has(name)) {
    const externalData = [{ path: "items.npy", data: new Uint8Array(table.buffer) }];
    const options = { executionProviders: ["wasm"], externalData };
    sessions.set(name, ort.InferenceSession.create(folder + name, options));
  }
  return sessions.get(name);
}

/* The interest vectors, which of them are active, and the coupling of each film. */
async function interestsOf(films, interests, iterations) {
  const window = films.slice(-facts.length);
  const length = Math.max(window.length, 1);
  const items = new BigInt64Array(length);
  window.forEach((film, position) => (items[position] = BigInt(film)));
  const mask = Uint8Array.from(items, (film) => Number(film > 0n));
  const profile = BigInt64Array.from(facts.profile, (field) => BigInt(field[1]));
  const session = await sessionOf(interests, iterations);
  const found = await session.run({
    items: new ort.Tensor("int64", items, [1, length]),
    mask: new ort.Tensor("bool", mask, [1, length]),
    profile: new ort.Tensor("int64", profile, [1, profile.length]),
  });
  return {
    window,
    count: interests,
    vectors: found.vectors.data,
    active: Array.from(found.active.data, Boolean),
    coupling: found.coupling.data,
    length,
  };
}

/* The best films of each interest and of the merged list, whose score is the best interest's (Eq. 3). */
function search(user, seen) {
  const lists = Array.from({ length: user.count }, () => []);
  const merged = [];
  const excluded = new Set(seen);
  for (let film = 1; film < table.rows; film++) {
    if (excluded.has(film)) continue;
    let best = -Infinity, interest = 0;
    for (let k = 0; k < user.count; k++) {
      if (!user.active[k]) continue;
      let score = 0;
      for (let n = 0; n < dim; n++) score += user.vectors[k * dim + n] * table.values[film * dim + n];
      lists[k].push({ film, score, interest: k });
      if (score > best) [best, interest] = [score, k];
    }
    merged.push({ film, score: best, interest });
  }
  const top = (rows, n) => rows.sort((a, b) => b.score - a.score).slice(0, n);
  return { lists: lists.map((rows) => top(rows, LISTED)), merged: top(merged, 2 * LISTED) };
}

/* The genres that the films of a list have most often, relative to all films. */
function genreWords(rows) {
  const share = (films) => {
    const counts = new Map();
    for (const film of films)
      for (const genre of facts.films[film - 1].genres) counts.set(genre, (counts.get(genre) || 0) + 1 / films.length);
    return counts;
  };
  const everywhere = share(facts.films.map((_, index) => index + 1));
  const excess = [...share(rows.map((row) => row.film))].map(([genre, part]) => [genre, (part - everywhere.get(genre)) / Math.sqrt(everywhere.get(genre))]);
  return excess.sort((a, b) => b[1] - a[1]).slice(0, 2).map(([genre]) => genre).join(", ");
}

const title = (film) => facts.films[film - 1].title;
const dot = (interest) => {
  const mark = element("span", { className: "demo-dot", textContent: interest + 1 });
  mark.style.borderColor = COLORS[interest];
  return mark;
};

function addButton(film) {
  const button = element("button", { type: "button", textContent: "+" });
  button.setAttribute("aria-label", say("Add {film}", { film: title(film) }));
  button.addEventListener("click", () => change([...history, film]));
  return button;
}

function listOf(rows, known) {
  const list = element("ol");
  for (const { film, interest } of rows) {
    const isNew = known && !known.has(film);
    const row = element("li", {}, dot(interest), ` ${title(film)} `);
    if (isNew) row.append(element("strong", { textContent: `${say("new")} ` }));
    row.append(addButton(film));
    list.append(row);
  }
  return list;
}

function drawCoupling(user) {
  const head = element("tr", {}, element("th", { scope: "col", textContent: say("Film") }));
  for (let k = 0; k < user.count; k++)
    if (user.active[k]) head.append(element("th", { scope: "col" }, dot(k)));
  head.append(element("th", { scope: "col", textContent: say("Remove") }));
  const body = element("tbody");
  user.window.forEach((film, position) => {
    const row = element("tr", {}, element("th", { scope: "row", textContent: title(film) }));
    for (let k = 0; k < user.count; k++) {
      if (!user.active[k]) continue;
      const weight = user.coupling[k * user.length + position];
      const cell = element("td", { textContent: weight.toFixed(2) });
      const share = Math.round(60 * weight);
      cell.style.background = `color-mix(in srgb, ${COLORS[k]} ${share}%, transparent)`;
      row.append(cell);
    }
    const remove = element("button", { type: "button", textContent: "✕" });
    remove.setAttribute("aria-label", say("Remove {film}", { film: title(film) }));
    remove.addEventListener("click", () => change(history.filter((other) => other !== film)));
    row.append(element("td", {}, remove));
    body.append(row);
  });
  at("coupling").replaceChildren(element("table", {}, element("thead", {}, head), body));
}

async function draw() {
  const mine = ++turn;
  const started = performance.now();
  const interests = Number(at("interests").value), iterations = Number(at("iterations").value);
  const user = await interestsOf(history, interests, iterations);
  const single = at("compare").checked ? await interestsOf(history, 1, iterations) : null;
  if (mine !== turn) return; // a later change is under way
  const found = search(user, history);
  drawCoupling(user);
  at("lists").replaceChildren(
    ...found.lists.flatMap((rows, k) =>
      rows.length ? [element("section", {}, element("h3", {}, dot(k), ` ${genreWords(rows)}`), listOf(rows))] : [],
    ),
  );
  at("merged").replaceChildren(listOf(found.merged, previous));
  at("single").replaceChildren(...(single ? [element("h3", { textContent: say("The list of one vector") }), listOf(search(single, history).merged)] : []));
  previous = new Set(found.merged.map((row) => row.film));
  const active = user.active.filter(Boolean).length;
  const time = performance.now() - started;
  const counts = { films: history.length, active, time: time.toFixed(0) };
  at("status").textContent = say("Films: {films}. Active interests (K'_u of Eq. 9): {active}. Computed in {time} ms.", counts);
  root.dataset.milliseconds = time;
  root.dataset.ready = mine;
}

function change(films) {
  history = films;
  return draw().catch(fail);
}

function offer() {
  const words = at("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = facts.films
    .map((film, index) => ({ film: index + 1, ...film }))
    .filter((film) => words.length && words.every((word) => film.title.toLowerCase().includes(word)))
    .filter((film) => !history.includes(film.film))
    .sort((a, b) => b.count - a.count)
    .slice(0, MATCHES);
  at("matches").replaceChildren(
    ...found.map(({ film }) => {
      const button = element("button", { type: "button", textContent: title(film) });
      button.addEventListener("click", () => {
        at("search").value = "";
        at("matches").replaceChildren();
        at("search").focus();
        change([...history, film]);
      });
      return element("li", {}, button);
    }),
  );
}

function fail(error) {
  at("status").textContent =
    location.protocol === "file:"
      ? say("A browser does not load the model from a file: serve the site, for example by python -m http.server.")
      : say("The demo cannot start: {message}", { message: error.message });
}

async function main() {
  const fetched = async (name) => {
    const answer = await fetch(folder + name);
    if (!answer.ok) throw new Error(say("{file} is missing ({status})", { file: name, status: answer.status }));
    return answer;
  };
  ort.env.wasm.wasmPaths = folder;
  ort.env.wasm.numThreads = 1;
  const [about, buffer] = await Promise.all([
    fetched("films.json").then((answer) => answer.json()),
    fetched("items.npy").then((answer) => answer.arrayBuffer()),
  ]);
  facts = about;
  table = { ...parseNpy(buffer), buffer };
  dim = table.columns;
  history = facts.start;
  const options = (values, chosen) => values.map((value) => element("option", { value, textContent: value, selected: value === chosen }));
  at("interests").append(...options(facts.interests, 4));
  at("iterations").append(...options(facts.iterations, 3));
  const profile = facts.profile.map(([field, , value]) => `${field}: ${value}`).join("; ");
  at("profile").textContent = say("Profile that the demo assumes: {profile}.", { profile });
  at("notice").textContent = say(facts.notice);
  for (const name of ["interests", "iterations", "compare"])
    at(name).addEventListener("change", () => {
      previous = null;
      change(history);
    });
  at("search").addEventListener("input", offer);
  at("search").addEventListener("keydown", (event) => {
    if (event.key === "Enter") at("matches").querySelector("button")?.click();
  });
  at("clear").addEventListener("click", () => {
    previous = null;
    change([]);
  });
  at("controls").disabled = false;
  await draw();
}

translateControls();
root.interestsOf = interestsOf; // for tests: the element is `demo`
main().catch(fail);
