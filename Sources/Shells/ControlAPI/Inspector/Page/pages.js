// The pages: each turns the state into elements.
import { carrying, el, inUse } from "/app.js";
import { age, bars, bits, bytes, decimalBytes, flag, layers, map, meter, ms, num, number, parts, path, peak, peeled, percent, rates, roles, schedule, seal, table, trips } from "/pictures.js";

const button = (state, name, text, { id = "", kind = "", idle = false } = {}) =>
  el(`button${kind ? `.${kind}` : ""}`, { type: "button", "data-do": name, "data-id": id === "" ? null : id, "aria-disabled": idle || state.busy[name + id] ? "true" : null }, text);
/** Asks for another circuit; while none carries packets it stays in its place, for who has the focus there. */
const renewal = (state) => state.circuits.length ? button(state, "renew", "New circuit", { kind: "main", idle: !inUse() }) : null;
const figure = (name, value, unit) => el("div", el("dt", name), el("dd", value, unit ? el("small", ` ${unit}`) : null));
const command = (text) => el("code", text);

/** What to do: a command to copy, or words. */
const fix = (text) => (/^(umbel|timedatectl)( [\w./-]+)*$/.test(text) ? el("span", "Try ", command(text)) : el("span", `${sentence(text)}.`));
const sentence = (text) => `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;

/** What is well and what is not, each with what to do about it. */
function health(state) {
  const found = [];
  const note = (tone, text, fix) => found.push({ tone, text, fix });
  const status = state.status;
  if (state.problem) note("bad", "The node does not answer", "umbel daemon --config /etc/umbel/client.toml");
  if (!status) return found;
  if (status.state === "disconnected") note("warn", "Traffic goes out directly: nothing is connected", "umbel up --wait");
  if (status.state === "connecting") note("warn", `Connecting: ${status.progress?.detail ?? "a circuit is being built"}`, "umbel status --watch");
  if (status.state === "blocked") note("bad", `Traffic is held back${status.reason ? `: ${status.reason}` : ""}`, "umbel status --watch");
  if (status.state === "connected") note("good", `Connected through ${status.exit?.nickname ?? "an exit"} for ${age(Date.now() / 1000 - status.since)}`);
  const used = inUse();
  const seen = state.trace && used && state.trace.circuit === used.id ? state.trace : null;
  (used?.hops ?? []).forEach((hop, index) => {
    if (seen ? seen.hops[index].received === 0 : hop.silent) note("bad", `${hop.nickname}, the ${roles[index]}, does not answer; the circuit is replaced`, "umbel circuits");
  });
  (seen?.segments ?? []).forEach((part) => {
    const worst = Math.max(part.forward?.loss ?? 0, part.backward?.loss ?? 0);
    const cells = (part.forward?.sent ?? 0) + (part.backward?.sent ?? 0);
    if (worst > 0.05 && cells > 200) note("warn", `${percent(worst)} lost between ${part.from ? used.hops[part.from - 1].nickname : "you"} and ${used.hops[part.to - 1].nickname}`, "umbel circuits new");
  });
  if (used && !state.circuits.some((one) => one.state === "spare" && one.isolation === used.isolation)) note("warn", "No spare circuit stands ready", "umbel circuits");
  const directory = status.directory;
  if (directory?.alarm) note("bad", `The authorities contradict themselves: ${directory.alarm}`, "umbel status --json");
  if (directory && directory.valid_until < Date.now() / 1000) note("bad", "The directory is out of date", "umbel status");
  else if (directory) note("good", `Directory of ${directory.relays} relays, signed by ${directory.signers.length}`);
  const said = status.relays;
  if (said?.directory_conflicting) note("bad", `${said.directory_conflicting} hops have another directory of the same time`, "umbel status --json");
  if (said && Math.abs(said.clock_offset_min) > 2) note("warn", `This machine's clock is ${Math.abs(said.clock_offset_min)} minutes off`, "timedatectl set-ntp true");
  for (const line of status.health ?? []) note("warn", sentence(line.problem), line.fix);
  const order = { bad: 0, warn: 1, good: 2 };
  return found.sort((a, b) => order[a.tone] - order[b.tone]);
}

function overview(state) {
  const used = inUse();
  const status = state.status;
  const now = state.rates.at(-1);
  const trace = state.trace && used && state.trace.circuit === used.id ? state.trace : null;
  return [
    el("h1", "Overview"),
    el("p.lead", "Where your packets go now, and how the way is."),
    el("div.grid",
      el("section.card", { "aria-labelledby": "way" },
        el("div.row.apart", el("h2", { id: "way" }, used ? `Circuit ${used.id}` : "The way"),
          carrying().length > 1 ? el("label.choice", "Look at", el("select", { "data-filter": "circuit" }, carrying().map((one) => el("option", { value: one.id, selected: one === used }, `circuit ${one.id}, ${whom(one)}`)))) : null,
          !used || used === carrying()[0] ? renewal(state) : null),
        used ? path(used, trace, now && now.sent + now.received > 2000) : noWay(status),
        used ? el("details", { "data-key": "way" }, el("summary", "As a table"), hopTable(used, trace)) : null),
      el("section.card.two",
        el("h2", "Rates"),
        el("dl.figures", figure("Sent now", now ? bytes(now.sent) : "–", "/s"), figure("Received now", now ? bytes(now.received) : "–", "/s"), figure("Sent", bytes(status?.bytes_sent)), figure("Received", bytes(status?.bytes_received))),
        rates(state.rates),
        el("p.row", el("span.key.received", "received"), el("span.key.sent", "sent"), el("span.quiet", `last two minutes; the upper line is ${peak(state.rates)}/s`)),
        el("details", { "data-key": "rates" }, el("summary", "As a table"), table("The last ten readings, newest first", [num("Ago"), num("Sent"), num("Received")],
          state.rates.slice(-10).reverse().map((one, index) => [`${index} s`, `${bytes(one.sent)}/s`, `${bytes(one.received)}/s`])))),
      el("section.card.third",
        el("h2", "Health"),
        el("ul.health", { id: "health" }, health(state).map((item) => el("li", { "data-tone": item.tone }, el("strong", item.text), item.fix ? fix(item.fix) : null)))),
      used?.traffic ? mode(state, used) : null),
  ];
}

/** Why there is no path to show. */
function noWay(status) {
  if (status?.state === "blocked") return el("p", { "data-tone": "bad" }, "No circuit carries packets, and nothing leaves this machine until one does", status.reason ? `: ${status.reason}.` : ".");
  if (status?.state === "connecting") return el("p", { "data-tone": "warn" }, `A circuit is being built: ${status.progress?.detail ?? "asking the guard"} (${status.progress?.percent ?? 0} %).`);
  return el("p.quiet", "No circuit carries packets. ", command("umbel up --wait"), " connects this machine.");
}

const modeWords = {
  fast: "Cells leave as they come. Who watches the line sees when something is sent, and how much.",
  padded: "Cells leave at one of four rates, with cover as far as the middle. The line shows the volume to a factor of four.",
  mix: "One cell leaves in each slot of a grid that all share, real or cover. The line shows that Umbel is used, and nothing else.",
};
const modeName = (traffic) => `${traffic.mode}${traffic.slot_ms ? `, slots of ${traffic.slot_ms} ms` : ""}`;
const hundredths = (value) => (value === null || value === undefined ? "–" : `${value.toFixed(2)} %`);

/** What a circuit's schedule does; nothing for `fast`, which keeps none. */
function scheduleFigures(one) {
  const traffic = one.traffic;
  if (traffic.mode === "fast") return null;
  const cover = one.cells_forward ? (traffic.cover ?? 0) / one.cells_forward : null;
  return el("dl.figures",
    figure("Each way now", traffic.cells_s ? number(traffic.cells_s) : "not yet", traffic.cells_s ? "cells/s" : ""),
    figure("Cover of all sent", percent(cover)), figure("Cells waiting", number(traffic.waiting)), figure("Brought back by parity", number(traffic.rebuilt)),
    traffic.mode === "mix" ? [
      figure("Loops back", `${number(traffic.loops_answered)} of ${number(traffic.loops_sent)}`), figure("Last loop", ms(traffic.loop_ms)),
      figure("Lost out", hundredths(traffic.loss_forward_pct)), figure("Lost back", hundredths(traffic.loss_backward_pct)),
    ] : null);
}

/** What the mode costs, whether or not anything is sent. */
function price(traffic) {
  const cost = traffic.price;
  if (!cost.cells_s) return "It costs what is sent, and adds no delay of its own.";
  const rate = cost.cells_s_most && cost.cells_s_most !== cost.cells_s ? `${number(cost.cells_s)} to ${number(cost.cells_s_most)}` : number(cost.cells_s);
  return `It costs ${rate} cells a second each way, always (${bits(cost.kbit_s * 1000)} of the line at least), up to ${number(cost.added_ms)} ms on a round trip${cost.ticks_h ? `, and ${number(cost.ticks_h)} ticks an hour to guard and middle` : ""}.`;
}

function mode(state, used) {
  const traffic = used.traffic;
  if (traffic.mode === "fast") {
    return el("section.card", el("div.row", el("h2", "Traffic"), el("span.pill", "fast")), el("p", modeWords.fast, " ", command("umbel up --mode mix"), " hides both, at a price: ", command("umbel up --help"), " tells it."));
  }
  const last = state.schedule.at(-1);
  // Parity is made of what is sent, and is no cover.
  const own = traffic.mode === "mix" ? "traffic and parity" : "traffic";
  return el("section.card", { id: "mode" },
    el("div.row", el("h2", "Traffic"), el("span.pill", { "data-tone": "good" }, modeName(traffic))),
    el("p", modeWords[traffic.mode], " ", price(traffic)),
    scheduleFigures(used),
    el("div.pair",
      el("figure", schedule(state.schedule, traffic.cells_s), el("figcaption", el("span.key.real", last ? `${own} ${number(Math.round(last.real))}/s` : own), " ", el("span.key.cover", last ? `cover ${number(Math.round(last.cover))}/s` : "cover"), " sent in the last two minutes")),
      traffic.mode === "mix" ? el("figure", trips(state.loops), el("figcaption", state.loops.length ? `the last ${state.loops.length} loops to the exit and back: ${ms(Math.min(...state.loops))} to ${ms(Math.max(...state.loops))}` : "a loop to the exit and back is sent every ten seconds or so; each will be a dot here")) : null),
    el("details", { "data-key": "schedule" }, el("summary", "As a table"),
      table("The last ten readings, newest first", [num("Ago"), num(`Cells/s of ${own}`), num("Cover cells/s")],
        state.schedule.slice(-10).reverse().map((one, index) => [`${index} s`, number(Math.round(one.real)), number(Math.round(one.cover))])),
      state.loops.length ? table("The last ten loops, newest first", [num("Loop"), num("There and back")], state.loops.slice(-10).reverse().map((one, index) => [index + 1, ms(one)])) : null));
}

/** What a circuit's packets are kept apart from others' by. */
const whom = (circuit) => `for ${circuit.isolation === "machine" ? "this machine" : circuit.isolation}`;

function hopTable(circuit, trace) {
  return table(`Hops of circuit ${circuit.id}`,
    [num("Hop"), "Relay", "Role", "Country", "Address", num("Round trip"), num("Queue"), num("Lost on the way out"), num("Lost on the way back")],
    circuit.hops.map((hop, index) => {
      const part = trace?.segments[index];
      return [hop.position, hop.nickname, roles[index], flag(hop.country), el("span.mono", hop.address), hop.silent ? "no answer" : ms(hop.rtt_ms),
        hop.stat ? ms(hop.stat.queue_delay_ms) : "–", percent(part?.forward?.loss), percent(part?.backward?.loss)];
    }));
}

const tones = { active: "good", spare: "quiet", building: "warn", retiring: "warn", closing: "warn" };

function circuits(state) {
  return [
    el("div.row.apart", el("h1", "Circuits"), renewal(state)),
    el("p.lead", "Each cell leaves this machine in three layers. Every hop takes off one, and learns only the next hop."),
    state.circuits.length ? el("div.grid", state.circuits.map((one) => circuit(state, one))) : el("p.quiet", "There are no circuits. ", command("umbel up --wait"), " builds some."),
  ];
}

function circuit(state, one) {
  const explained = state.explained[one.id];
  return el("section.card", { "data-key": `circuit-${one.id}`, "data-circuit": one.id, "aria-label": `Circuit ${one.id}` },
    el("div.row.apart",
      el("div.row", el("h2", `Circuit ${one.id}`), el("span.pill", { "data-tone": tones[one.state] ?? "quiet" }, one.state), el("span.quiet", whom(one))),
      el("div.row", button(state, "explain", explained ? "Hide who knows what" : "Who knows what", { id: one.id }), button(state, "close", "Close", { id: one.id, kind: "danger" }))),
    el("p.route", one.hops.map((hop, index) => [index ? el("span.quiet", " › ") : null, el("strong", { class: roles[index] }, hop.nickname), el("span.quiet", ` ${hop.country}`)])),
    el("p.why", el("span.quiet", "Why: "), one.cause ?? "–"),
    el("dl.figures", figure("Age", age(one.age_s)), figure("Built in", ms(one.build_ms)), figure("Flows", number(one.flows)), figure("Cells out", number(one.cells_forward)), figure("Cells back", number(one.cells_backward)), figure("Sent", bytes(one.bytes_forward)), figure("Received", bytes(one.bytes_backward)), one.traffic ? figure("Mode", one.traffic.mode) : null),
    one.traffic && one.traffic.mode !== "fast" ? [el("h3", `Schedule: ${modeName(one.traffic)}`), scheduleFigures(one)] : null,
    el("details", { "data-key": `layers-${one.id}`, open: one.state === "active" }, el("summary", "Layers, peeled hop by hop"),
    el("div.layers", one.hops.map((hop, index) => el("article.peel", { class: roles[index] },
      el("h3", hop.nickname, el("small", `${roles[index]} · ${hop.country}`)),
      el("figure", layers(index), el("figcaption", peeled(index))),
      el("dl", [
        ["Address", el("span.mono", hop.address)], ["Identity", el("span.mono", { title: hop.id }, `${hop.id.slice(0, 16)}…`)],
        ["Round trip", hop.silent ? "no answer" : ms(hop.rtt_ms)], ["Queue", hop.stat ? ms(hop.stat.queue_delay_ms) : "–"], ["Dropped in queue", hop.stat ? number(hop.stat.queue_drops) : "–"],
        ["Cells out: in, on", hop.stat ? `${number(hop.stat.forward_in)}, ${number(hop.stat.forward_out)}` : "–"], ["Cells back: in, on", hop.stat ? `${number(hop.stat.backward_in)}, ${number(hop.stat.backward_out)}` : "–"],
        hop.paid_ticks === undefined || hop.paid_ticks === null ? null : ["Paid", hop.lacks_voucher ? "no voucher" : `${number(hop.paid_ticks)} ticks`],
        hop.family ? ["Operator", `family ${hop.family.slice(0, 8)}`] : null,
      ].filter(Boolean).map(([name, value]) => [el("dt", name), el("dd", value)])))))),
    el("details", { "data-key": `table-${one.id}` }, el("summary", "As a table"), hopTable(one, state.trace?.circuit === one.id ? state.trace : null)),
    explained ? knows(explained) : null);
}

function knows(report) {
  return [
    report.warnings.length ? el("ul.health.gap", report.warnings.map((text) => el("li", { "data-tone": "warn" }, el("strong", text)))) : null,
    el("div.knows", report.parties.map((party) => el("section", { class: party.role },
      el("h3", `${party.role.replace("_", " ")}: ${party.name}`),
      el("ul", party.knows.map((text) => el("li", text)), party.addresses.map((text) => el("li", "sees ", el("span.mono", text))), party.payment ? el("li", `paid: ${party.payment}`) : null),
      party.hidden.length ? el("p.not", `Not: ${party.hidden.join("; ")}`) : null))),
  ];
}

const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");

function network(state) {
  const filter = state.filter;
  const relays = state.relays ?? [];
  const list = relays.filter((relay) => (!filter.text || `${relay.nickname} ${relay.id} ${relay.addresses.join(" ")}`.toLowerCase().includes(filter.text.toLowerCase()))
    && (!filter.country || relay.country === filter.country) && (!filter.role || relay.flags.includes(filter.role)));
  const total = relays.reduce((sum, relay) => sum + relay.weight, 0) || 1;
  const group = (name) => {
    const sums = new Map();
    for (const relay of relays) { const key = name(relay); if (key) sums.set(key, (sums.get(key) ?? 0) + relay.weight); }
    return [...sums].map(([key, weight]) => ({ name: key, share: weight / total })).sort((a, b) => b.share - a.share);
  };
  const countries = group((relay) => flag(relay.country));
  const systems = group((relay) => relay.as && `AS ${relay.as}`);
  const families = group((relay) => relay.family && `family ${relay.family.slice(0, 8)}`);
  const directory = state.status?.directory;
  const hasSigned = (name) => directory.signers.includes(name);
  const names = [...new Set(relays.map((relay) => relay.country))].sort();
  return [
    el("h1", "Network"),
    el("p.lead", "All relays the authorities list, where they stand, and who signed the list."),
    el("div.grid",
      el("section.card",
        el("dl.figures", figure("Relays", number(relays.length)), figure("Exits", number(relays.filter((one) => one.flags.includes("exit")).length)), figure("Guards", number(relays.filter((one) => one.flags.includes("guard")).length)), figure("Countries", number(names.length)), figure("Families", number(families.length))),
        map(relays, inUse()),
        el("p.row", roles.map((role) => el("span.pill", { class: role }, role)), el("span.quiet", "of the circuit in use; the size of a mark tells how many relays"))),
      el("section.card.half", el("h2", "Diversity: weight by country"), bars(countries.slice(0, 10)), countries.length > 10 ? el("p.quiet", `and ${countries.length - 10} more`) : null),
      el("section.card.half", el("h2", "Signed by"),
        directory ? [el("ul.seals", (directory.authorities ?? directory.signers).map((name) => el("li", seal(hasSigned(name)), name, hasSigned(name) ? null : el("span.quiet", "did not sign")))),
          directory.threshold ? el("p.quiet", `${directory.signers.length} of ${directory.authorities?.length ?? "the"} authorities signed it; ${directory.threshold} must.`) : null,
          el("dl.figures.gap", figure("Agreed at", clock(directory.valid_after)), figure("Holds until", clock(directory.valid_until))), el("p.quiet", `It came from ${directory.source}.`), directory.alarm ? el("p", { "data-tone": "bad" }, directory.alarm) : null]
          : el("p.quiet", "There is no directory yet."),
        systems.length ? [el("h3", "Weight by autonomous system"), bars(systems.slice(0, 6))] : null,
        el("h3", "Weight by operator"), families.length ? bars(families.slice(0, 6)) : el("p.quiet", "No relay declares a family.")),
      el("section.card", el("h2", `Relays (${list.length} of ${relays.length})`),
        el("div.filters",
          el("label", "Name, address or identity", el("input", { type: "search", "data-filter": "text", value: filter.text })),
          el("label", "Country", el("select", { "data-filter": "country" }, el("option", { value: "" }, "any"), names.map((code) => el("option", { value: code, selected: filter.country === code }, flag(code))))),
          el("label", "Fit for", el("select", { "data-filter": "role" }, ["", "guard", "exit", "fast", "stable"].map((role) => el("option", { value: role, selected: filter.role === role }, role || "anything"))))),
        table("Relays, the heaviest first", ["Relay", "Country", "Fit for", num("Weight"), num("Exit round trip"), "Addresses", "Family"],
          list.slice(0, 300).map((relay) => [relay.nickname, flag(relay.country), relay.flags.join(", "), percent(relay.weight / total), ms(relay.round_trip_ms), el("span.mono", relay.addresses.join(" ")), relay.family ? relay.family.slice(0, 8) : "–"])),
        list.length > 300 ? el("p.quiet", "The 300 heaviest are listed; the filters find the others.") : null)),
  ];
}

/** How many vouchers of each size, the largest first. */
const sizes = (all) => ["L", "S", "T"].map((size) => [all.filter((one) => one === size).length, size])
  .filter(([count]) => count > 0).map(([count, size]) => `${count} ${size}`).join(", ");

function wallet(state) {
  const tickets = state.tickets;
  if (!tickets) return [el("h1", "Wallet"), el("p.lead", "What relays are paid with."), el("p.card", "This network is not paid for, or its mints are not known yet.")];
  const paid = state.circuits.reduce((sum, one) => sum + one.hops.reduce((ticks, hop) => ticks + (hop.paid_ticks ?? 0), 0), 0);
  const carried = state.circuits.reduce((sum, one) => sum + one.bytes_forward + one.bytes_backward, 0) / 1048576;
  const adds = tickets.bought + tickets.reclaimed === tickets.spent + tickets.outstanding + tickets.given_back + tickets.expired;
  const byRelay = new Map();
  for (const voucher of tickets.vouchers) {
    const key = voucher.nickname ?? voucher.relay.slice(0, 16);
    const entry = byRelay.get(key) ?? { count: 0, left: 0, sizes: [] };
    entry.count += 1;
    entry.left += voucher.ticks - (voucher.spent ?? 0);
    entry.sizes.push(voucher.denomination);
    byRelay.set(key, entry);
  }
  const values = [...new Map(tickets.vouchers.map((one) => [one.denomination, one.ticks]))].sort((a, b) => a[1] - b[1]);
  const account = state.account;
  return [
    el("h1", "Wallet"),
    el("p.lead", "What relays are paid with: vouchers that no mint can link to this client."),
    el("div.grid",
      el("section.card.two", el("h2", "At hand"),
        el("dl.figures", figure("Vouchers", number(tickets.vouchers.length)), figure("Ticks at hand", number(tickets.outstanding)), figure("Spent", number(tickets.spent)), figure("Per MiB now", carried > 0.5 && paid ? (paid / carried).toFixed(2) : "–", carried > 0.5 && paid ? "ticks" : null))),
      el("section.card.third", el("h2", "Account"),
        el("p", account ? el("strong", account.balance === null || account.balance === undefined ? "no mint answered" : `${(account.balance / 100).toLocaleString("en")} ticks`) : el("span.quiet", "The mints know it; asking them goes over a circuit of its own.")),
        button(state, "account", "Ask the mints"), account?.problem ? el("p", { "data-tone": "warn" }, account.problem) : null),
      el("section.card", el("h2", "What adds up"),
        el("p.equation", `${number(tickets.bought)} bought + ${number(tickets.reclaimed)} reclaimed ${adds ? "=" : "≠"} ${number(tickets.spent)} spent + ${number(tickets.outstanding)} at hand + ${number(tickets.given_back)} given back + ${number(tickets.expired)} expired`),
        el("p", el("span.pill", { "data-tone": adds ? "good" : "bad" }, adds ? "to the tick" : "does not add up")),
        state.audit?.epochs?.length ? table("What mints signed, and what came back to them (ticks)", ["Epoch", num("Mint"), "Signs", num("Issued"), num("Deposited"), num("Reclaimed"), "Holds"],
          state.audit.epochs.flatMap((epoch) => epoch.mints.map((mint) => [epoch.epoch, mint.index, mint.designated ? "yes" : "no", number(mint.issued), number(mint.deposited), number(mint.reclaimed), !mint.designated || mint.deposited + mint.reclaimed <= mint.issued ? "yes" : "NO"]))) : null),
      el("section.card", el("h2", "Vouchers by relay"),
        table(`Vouchers at hand${values.length ? `: ${values.map(([size, ticks]) => `${size} of ${number(ticks)}`).join(", ")} ticks` : ""}`, ["Relay", num("Vouchers"), "Sizes", num("Ticks left")], [...byRelay].sort((a, b) => b[1].left - a[1].left).map(([name, entry]) => [name, number(entry.count), sizes(entry.sizes), number(entry.left)])))),
  ];
}

const lineStates = { serving: ["good", "takes circuits"], draining: ["warn", "drains: takes no new circuits"], quota_used_up: ["bad", "its quota is used up"], closed: ["quiet", "closed at this hour"] };
const day = (count) => new Date(count * 86400000).toISOString().slice(0, 10);
const minute = (seconds) => `${new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ")} UTC`;

function relay(state) {
  const report = state.relay;
  if (!report) return [el("h1", "Relay"), el("p.quiet", "Reading …")];
  const drops = Object.entries(report.drops).filter(([, count]) => count > 0).sort((a, b) => b[1] - a[1]);
  const now = state.rates.at(-1);
  const { listing, line, resolver } = report;
  const [tone, word] = lineStates[line?.state] ?? ["quiet", "starting"];
  const isExit = report.exit_leases !== null && report.exit_leases !== undefined;
  return [
    el("div.row", el("h1", report.nickname), el("span.pill", isExit ? "exit" : "relay"), el("span.pill", { "data-tone": tone }, word)),
    el("p.lead", "Identity ", el("span.mono", report.identity)),
    el("div.grid",
      el("section.card.two", el("h2", "Traffic"),
        el("dl.figures", figure("Up", age(report.uptime_s)), figure("Links", number(report.links)), figure("Circuits", number(report.circuits)), isExit ? figure("Leases", number(report.exit_leases)) : null, figure("Cells out", number(report.cells_forward)), figure("Cells back", number(report.cells_backward)), figure("Now", now ? bytes(now.sent + now.received) : "–", "/s")),
        rates(state.rates), el("p.row", el("span.key.received", "towards clients"), el("span.key.sent", "towards exits"), el("span.quiet", `cells of the last two minutes; the upper line is ${peak(state.rates)}/s`)),
        el("details", { "data-key": "rates" }, el("summary", "As a table"), table("The last ten readings, newest first", [num("Ago"), num("Towards exits"), num("Towards clients")], state.rates.slice(-10).reverse().map((one, index) => [`${index} s`, `${bytes(one.sent)}/s`, `${bytes(one.received)}/s`])))),
      el("section.card.third", el("h2", "Limits"), line ? limits(line) : el("p.quiet", "The relay is starting.")),
      earnings(state.earnings),
      el("section.card.half", el("h2", "In the directory"),
        listing ? [el("p.row", el("span.pill", { "data-tone": listing.listed ? "good" : "warn" }, listing.listed ? "listed" : "not listed"), listing.flags.map((name) => el("span.pill", name)), listing.listed ? el("span.quiet", `weight ${number(listing.weight)} kbit/s`) : null),
          table("The last word of each authority", ["Authority", "Said"], Object.entries(listing.authorities))] : el("p.quiet", "Nobody was told of this relay."),
        report.directory ? el("p.quiet", `It holds a directory of ${number(report.directory.relays)} relays, signed by ${report.directory.signers.join(", ")}.`) : null),
      el("section.card.half.slim", el("h2", "Dropped since the start"), drops.length ? table("What was not carried, and why", ["Reason", num("Count")], drops.map(([name, count]) => [name.replaceAll("_", " "), number(count)])) : el("p.quiet", "Nothing."),
        resolver ? [el("h3", "Names at the exit"), el("p", el("span.pill", { "data-tone": resolver.answers ? "good" : "bad" }, resolver.answers ? "answers" : "does not answer"), ` ${resolver.program}, started again ${number(resolver.restarts)} times`)] : null)),
  ];
}

/** What the operator lets the relay carry, and how much of it is used. */
function limits(line) {
  const rate = (now, most) => (most ? `${bits(now)} of ${bits(most)}` : `${bits(now)}, no limit`);
  const part = (now, most) => (most ? now / most : null);
  const quota = line.quota;
  return [
    meter("Sending", rate(line.bit_rate_sent, line.limit_sent), part(line.bit_rate_sent, line.limit_sent)),
    meter("Receiving", rate(line.bit_rate_received, line.limit_received), part(line.bit_rate_received, line.limit_received)),
    quota ? meter("Quota", `${decimalBytes(quota.used_bytes)} of ${decimalBytes(quota.limit_bytes)}`, quota.limit_bytes ? quota.used_bytes / quota.limit_bytes : 1) : meter("Quota", "none", null),
    quota ? el("p.quiet", `The next period begins ${minute(quota.ends)}.`) : null,
    el("dl.figures", figure("Sent in all", bytes(line.bytes_sent)), figure("Received in all", bytes(line.bytes_received)), figure("Waiting", bytes(line.bytes_waiting)), figure("Memory", bytes(line.memory_bytes))),
  ];
}

function earnings(earned) {
  if (!earned) return el("section.card", el("h2", "Earnings"), el("p.quiet", "Nothing is paid here: the network asks for no pay, or its mints are not known yet."));
  const adds = earned.served === earned.credited + earned.waiting + earned.expired;
  return el("section.card", el("h2", "Earnings"),
    el("dl.figures", figure("Served", number(earned.served), "ticks"), figure("Credited", number(earned.credited)), figure("Waiting", number(earned.waiting)), figure("Expired", number(earned.expired)), figure("Vouchers", number(earned.vouchers))),
    parts("What became of the ticks served", [{ name: "credited", value: earned.credited }, { name: "waiting", value: earned.waiting }, { name: "expired", value: earned.expired }]),
    el("p.row", el("span.pill", { "data-tone": adds ? "good" : "bad" }, adds ? "adds up to the tick" : "does not add up"), el("span.key.credited", "credited by the mints"), el("span.key.waiting", "to be handed in, or on its way"), el("span.key.expired", "too late"), earned.burn_per_mille ? el("span.quiet", `${earned.burn_per_mille / 10} % of what is credited is burnt`) : null),
    Object.entries(earned.problems).map(([mint, text]) => el("p", { "data-tone": "warn" }, `${mint}: ${text}`)),
    earned.days.length ? el("details", { "data-key": "days", open: true }, el("summary", "By day"), table("Ticks by the day clients paid", ["Day", num("Served"), num("Deposited"), num("Credited"), num("Expired")],
      earned.days.map((one) => [day(one.day), number(one.served), number(one.deposited), number(one.credited), number(one.expired)]))) : null);
}

function leaks(state) {
  const report = state.leaks;
  const words = { passed: ["good", "passed"], leaking: ["bad", "leaking"], skipped: ["quiet", "not applicable"] };
  return [
    el("div.row.apart", el("h1", "Leak test"), button(state, "leaks", state.busy.leaks ? "Testing …" : "Run the test", { kind: "main" })),
    el("p.lead", "Tries, as any program could, to get around the tunnel. The kernel must refuse."),
    report ? [
      el("p", el("span.pill", { "data-tone": report.checks.some((one) => one.result === "leaking") ? "bad" : report.checks.some((one) => one.result === "passed") ? "good" : "quiet" },
        report.checks.some((one) => one.result === "leaking") ? "something leaks" : report.checks.some((one) => one.result === "passed") ? "nothing leaks" : "nothing to test")),
      el("section.card", table("One rule a line", ["Rule", "Tried", "Result", "Seen", "What to do"],
        report.checks.map((one) => [one.name, one.tried, el("span.pill", { "data-tone": words[one.result][0] }, words[one.result][1]), one.detail, one.hint ? command(one.hint) : "–"]))),
    ] : el("p.card", "The test sends one byte to port 9 and port 53 of the guard's address, without the mark that lets Umbel's own datagrams out, and asks the kernel which way others would take. ",
      "It needs no one else's server, and tells nobody anything."),
  ];
}

const kinds = { "": "all", carrying: "circuits in use", begun: "circuits begun", ready: "circuits built", ended: "circuits gone", state: "the state", directory: "the directory", other: "anything else" };
const levels = { warning: "warn", error: "bad", critical: "bad" };

function events(state) {
  const wanted = state.filter.kind;
  const list = state.events.filter((one) => !wanted || (one.kind ?? "other") === wanted);
  // What says the same several times in a row is one line.
  const runs = [];
  for (const one of list) {
    const last = runs.at(-1);
    if (last && last.text === one.text && last.kind === one.kind) runs[runs.length - 1] = { ...one, first: last.first, count: last.count + 1 };
    else runs.push({ ...one, first: one.number, count: 1 });
  }
  const shown = runs.slice(-200).reverse();
  return [
    el("h1", "Events"),
    el("p.lead", "What has happened in the daemon and to its circuits lately, the newest first. ", command("umbel logs"), " prints the same. Nothing of it is kept on disk."),
    el("section.card",
      el("div.filters", el("label", "About", el("select", { "data-filter": "kind" }, Object.entries(kinds).map(([kind, name]) => el("option", { value: kind, selected: wanted === kind }, name))))),
      shown.length ? el("ol.timeline", shown.map((one) => el("li", { class: one.kind ?? "other", "data-key": `event-${one.first}` },
        el("time", { datetime: new Date(one.time_ms).toISOString() }, new Date(one.time_ms).toLocaleTimeString("en-GB")),
        el("p", levels[one.level] ? [el("span.pill", { "data-tone": levels[one.level] }, one.level), " "] : null, one.text, one.count > 1 ? el("span.quiet", ` (${one.count} times)`) : null)))) : el("p.quiet", "Nothing yet."),
      runs.length > shown.length ? el("p.quiet", `${number(runs.length - shown.length)} older ones are not drawn; `, command("umbel logs"), " has them.") : null),
  ];
}

/** The pages by the kinds of node that have them. */
export const pages = [
  { id: "overview", name: "Overview", roles: ["client"], draw: overview },
  { id: "circuits", name: "Circuits", roles: ["client"], draw: circuits },
  { id: "network", name: "Network", roles: ["client"], draw: network },
  { id: "wallet", name: "Wallet", roles: ["client"], draw: wallet },
  { id: "relay", name: "Relay", roles: ["relay"], draw: relay },
  { id: "leaks", name: "Leak test", roles: ["client"], draw: leaks },
  { id: "events", name: "Events", roles: ["client"], draw: events },
];
