// The page: reads the node's state, draws the page that is asked for, and hands orders back.
//
// Everything shown goes through text nodes (`el`), so names that come from the network stay text.
import { pages } from "/pages.js";

export const state = {
  node: null, status: null, circuits: [], events: [], relays: [], tickets: null, audit: null, account: null,
  relay: null, earnings: null, trace: null, rates: [], schedule: [], loops: [], leaks: null, explained: {},
  busy: {}, filter: { text: "", country: "", role: "", kind: "", circuit: "" }, problem: null, feed: "connecting",
};

/** The circuits that carry packets: the machine's first, then those of single programs. */
export function carrying() {
  const all = state.circuits.filter((one) => one.state === "active");
  return all.sort((a, b) => Number(b.isolation === "machine") - Number(a.isolation === "machine"));
}

/** The circuit that is looked at: the one that was chosen, else the first that carries packets. */
export function inUse() {
  const all = carrying();
  return all.find((one) => String(one.id) === state.filter.circuit) ?? all[0] ?? null;
}

// Elements

/** An element: `el("p.quiet", {id: "x"}, "text", child)`; what is null or false is left out. */
export function el(kind, ...parts) {
  return make(document.createElement(kind.split(".")[0]), kind, parts);
}

/** The same within SVG. */
export function svg(kind, ...parts) {
  return make(document.createElementNS("http://www.w3.org/2000/svg", kind.split(".")[0]), kind, parts);
}

function make(element, kind, parts) {
  const names = kind.split(".").slice(1);
  if (names.length) element.setAttribute("class", names.join(" "));
  const first = parts[0];
  if (first && typeof first === "object" && !(first instanceof Node) && !Array.isArray(first)) {
    for (const [name, value] of Object.entries(parts.shift())) {
      if (value === null || value === undefined || value === false) continue;
      const text = value === true ? "" : String(value);
      element.setAttribute(name, name === "class" && names.length ? `${names.join(" ")} ${text}` : text);
    }
  }
  for (const part of parts.flat(3)) {
    if (part === null || part === undefined || part === false) continue;
    element.append(part instanceof Node ? part : String(part));
  }
  return element;
}

/** Brings `old` to what `next` is, keeping elements, so that focus and selection stay. */
function morph(old, next) {
  if (old.nodeType !== next.nodeType || old.nodeName !== next.nodeName || key(old) !== key(next)) {
    old.replaceWith(next);
    return;
  }
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!next.hasAttribute(name) && !isReaders(old, name)) old.removeAttribute(name);
  }
  for (const { name, value } of [...next.attributes]) {
    if (old.getAttribute(name) !== value && !isReaders(old, name)) old.setAttribute(name, value);
  }
  if (old === document.activeElement && (old.nodeName === "INPUT" || old.nodeName === "SELECT")) return;
  const wanted = [...next.childNodes];
  while (old.childNodes.length > wanted.length) old.lastChild.remove();
  wanted.forEach((child, index) => {
    const known = old.childNodes[index];
    if (known) morph(known, child);
    else old.append(child);
  });
}

/** What the reader sets: a part of the page that was opened stays open, one that was closed stays closed. */
function isReaders(element, name) {
  return name === "open" && element.nodeName === "DETAILS";
}

function key(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-key") : null;
}

// Asking

async function ask(method, path, body) {
  const response = await fetch(path, {
    method,
    headers: body ? { "content-type": "application/json" } : {},
    body: body ? JSON.stringify(body) : undefined,
  });
  const text = await response.text();
  let answer = {};
  try { answer = text ? JSON.parse(text) : {}; } catch { answer = { what: text.trim() }; }
  if (!response.ok) {
    const said = [answer.what, answer.why, answer.hint].filter(Boolean).join(" – ");
    throw new Error(said || `the node answered ${response.status}`);
  }
  return answer;
}

async function read(path, name, pick) {
  try {
    const answer = await ask("GET", path);
    state[name] = pick ? answer[pick] : answer;
  } catch (error) {
    state[name] = name === "relays" ? [] : null;
  }
}

/** What happened until now; the stream tells the rest. */
async function readEvents() {
  state.events = [];
  try {
    const text = await (await fetch("/v1/events")).text();
    for (const line of text.split("\n")) if (line) noteEvent(JSON.parse(line));
  } catch { /* A daemon that tells of none still has a stream. */ }
  draw();
}

/** Keeps an event once, in order, whether the list or the stream brought it first. */
function noteEvent(event) {
  if (!(event.number > 0)) return;
  const place = state.events.findLastIndex((one) => one.number <= event.number);
  if (state.events[place]?.number === event.number) return;
  state.events.splice(place + 1, 0, event);
  if (state.events.length > 1000) state.events.shift();
}

function say(text) {
  const toast = document.getElementById("toast");
  toast.textContent = text;
  toast.hidden = false;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { toast.hidden = true; }, 6000);
}

/** What buttons do, by their `data-do`. */
const orders = {
  async renew() { take(await ask("POST", "/v1/circuits")); say("another circuit carries packets"); },
  async close(id) { take(await ask("DELETE", `/v1/circuits/${id}`)); say(`circuit ${id} is closed`); },
  async explain(id) {
    if (state.explained[id]) delete state.explained[id];
    else state.explained[id] = await ask("GET", `/v1/circuits/${id}/explain`);
  },
  async leaks() { state.leaks = await ask("POST", "/v1/leaktest"); },
  async account() { state.account = await ask("POST", "/v1/account"); },
};

function take(report) {
  state.circuits = report.circuits;
  noteSchedule(inUse());
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-do]");
  // One that were disabled would lose the focus of who came to it by keyboard.
  if (!button || button.getAttribute("aria-disabled")) return;
  const name = button.dataset.do;
  const id = button.dataset.id ?? "";
  state.busy[name + id] = true;
  draw();
  try { await orders[name](id); } catch (error) { say(error.message); }
  delete state.busy[name + id];
  draw();
});

document.addEventListener("input", (event) => {
  const name = event.target.dataset?.filter;
  if (!name) return;
  state.filter[name] = event.target.value;
  draw();
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /INPUT|SELECT|TEXTAREA/.test(event.target.nodeName)) return;
  const page = shown()[Number(event.key) - 1];
  if (page) { location.hash = `#/${page.id}`; }
});

// Drawing

function shown() {
  const role = state.node?.role ?? "client";
  return pages.filter((page) => page.roles.includes(role));
}

function current() {
  const id = location.hash.replace("#/", "");
  return shown().find((page) => page.id === id) ?? shown()[0];
}

let isPlanned = false;
/** Draws with the next frame; several changes are drawn once. */
export function draw() {
  if (isPlanned) return;
  isPlanned = true;
  requestAnimationFrame(() => { isPlanned = false; drawNow(); });
}

function drawNow() {
  const page = current();
  if (!page) return;
  document.title = `${page.name} · Umbel inspector`;
  const nav = document.getElementById("nav");
  morph(nav, el("nav", { id: "nav", "aria-label": "Pages" }, shown().map((other) =>
    el("a", { href: `#/${other.id}`, "aria-current": other === page ? "page" : null }, other.name))));
  const main = document.getElementById("page");
  const focused = document.activeElement;
  morph(main, el("main", { id: "page", tabindex: "-1", "data-page": page.id }, page.draw(state)));
  // What had the focus is gone: the reader goes on at the page, not before its first link.
  if (focused && !focused.isConnected) main.focus({ preventScroll: true });
  const [text, tone] = headline();
  const pill = document.getElementById("state");
  if (pill.textContent !== text) pill.textContent = text;
  pill.dataset.tone = tone;
  document.getElementById("feed").textContent = state.feed;
  const count = shown().length;
  document.getElementById("keys").hidden = count < 2;
  document.getElementById("last-key").textContent = String(count);
}

function headline() {
  if (state.problem) return ["not answering", "bad"];
  if (state.node?.role === "relay") {
    return state.relay ? [state.relay.listing?.listed === false ? "not listed" : "running", state.relay.listing?.listed === false ? "warn" : "good"] : ["reading", "quiet"];
  }
  const tones = { connected: "good", connecting: "warn", disconnecting: "warn", blocked: "bad", disconnected: "quiet" };
  const now = state.status?.state;
  if (!now) return ["reading", "quiet"];
  return [now === "connected" && state.status.exit ? `connected, ${state.status.exit.country}` : now, tones[now]];
}

addEventListener("hashchange", () => {
  drawNow();
  document.getElementById("page").focus({ preventScroll: true });
  scrollTo(0, 0);
  refresh();
});

// Following

function follow() {
  const source = new EventSource("/v1/stream");
  source.addEventListener("open", () => {
    state.problem = null;
    state.feed = "live";
    // A daemon that was started anew counts its events anew.
    if (state.node?.role === "client") readEvents();
    draw();
  });
  source.addEventListener("error", () => {
    state.problem = "the node does not answer";
    state.feed = "the node does not answer; trying again";
    draw();
  });
  const on = (name, handle) => source.addEventListener(name, (message) => { handle(JSON.parse(message.data)); draw(); });
  on("status", (report) => { noteRate(report); state.status = report; });
  on("circuits", take);
  on("relay", (report) => { noteRate({ bytes_sent: report.cells_forward * 1392, bytes_received: report.cells_backward * 1392 }); state.relay = report; });
  on("event", noteEvent);
}

let shaped = null;
/** Notes what share of the cells of the circuit in use is cover, and how long its loops take. */
function noteSchedule(circuit) {
  const traffic = circuit?.traffic;
  if (!traffic || traffic.mode === "fast") { shaped = null; state.schedule = []; state.loops = []; return; }
  const now = performance.now();
  const seen = { id: circuit.id, time: now, cells: circuit.cells_forward, cover: traffic.cover ?? 0, loops: traffic.loops_answered ?? 0 };
  if (shaped?.id !== circuit.id) { shaped = seen; state.schedule = []; state.loops = []; return; }
  if (now - shaped.time < 700) return;
  const span = (now - shaped.time) / 1000;
  const cover = Math.max(0, seen.cover - shaped.cover) / span;
  const real = Math.max(0, seen.cells - shaped.cells) / span - cover;
  state.schedule.push({ real: Math.max(0, real), cover });
  if (state.schedule.length > 120) state.schedule.shift();
  if (seen.loops > shaped.loops && traffic.loop_ms !== undefined) state.loops.push(traffic.loop_ms);
  if (state.loops.length > 40) state.loops.shift();
  shaped = seen;
}

let last = null;
function noteRate(report) {
  const now = performance.now();
  if (last && now - last.time > 400) {
    const span = (now - last.time) / 1000;
    const sent = Math.max(0, report.bytes_sent - last.sent) / span;
    const received = Math.max(0, report.bytes_received - last.received) / span;
    state.rates.push({ sent, received });
    if (state.rates.length > 120) state.rates.shift();
  } else if (last) {
    return;
  }
  last = { time: now, sent: report.bytes_sent, received: report.bytes_received };
}

let traces = [];
/** What each segment has lost over the last traces: one alone is short beside the time from count to count. */
function lost(trace) {
  if (traces[0]?.circuit !== trace.circuit) traces = [];
  if (trace.hops.every((hop) => hop.after)) traces.push(trace);
  if (traces.length > 16) traces.shift();
  if (traces.length < 4) return [];
  const [first, last] = [traces[0], traces.at(-1)];
  // Hops count to 2^32, and begin anew.
  const grown = (index, name) => (last.hops[index].after[name] - first.hops[index].after[name]) >>> 0;
  const way = (sent, received) => ({ sent, loss: sent ? Math.max(0, sent - received) / sent : null });
  return trace.hops.map((hop, index) => ({
    from: index,
    to: index + 1,
    forward: way(index ? grown(index - 1, "forward_out") : last.client.sent_after - first.client.sent_after, grown(index, "forward_in")),
    backward: way(grown(index, "backward_out"), index ? grown(index - 1, "backward_in") : last.client.received_after - first.client.received_after),
  }));
}

/** One echo to each hop a second while somebody looks: round trips, queues, losses. */
async function measure() {
  const isWanted = !document.hidden && ["overview", "circuits"].includes(current()?.id);
  const used = inUse();
  if (!isWanted || state.node?.role !== "client" || !used) return;
  try {
    const trace = await ask("POST", "/v1/trace", { circuit: used.id, count: 1, interval_ms: 1, patience_ms: 600 });
    state.trace = { ...trace, segments: lost(trace) };
  } catch (error) {
    state.trace = null;
  }
  draw();
}

async function refresh() {
  const page = current()?.id;
  if (page === "network") await read("/v1/relays", "relays", "relays");
  if (page === "wallet") await Promise.all([read("/v1/tickets", "tickets"), read("/v1/tickets/audit", "audit")]);
  if (page === "relay") await read("/v1/earnings", "earnings");
  draw();
}

async function begin() {
  await read("/v1/node", "node");
  if (state.node?.role === "client") {
    await Promise.all([read("/v1/status", "status"), read("/v1/relays", "relays", "relays")]);
  } else {
    await read("/v1/status", "relay");
  }
  follow();
  draw();
  refresh();
  const round = async () => { await measure(); setTimeout(round, 700); };
  round();
  setInterval(refresh, 10000);
}

begin();
