// Pictures. Each has a table beside it that says the same.
import { el, svg } from "/app.js";
import { world } from "/world.js";

export const roles = ["guard", "middle", "exit"];

export const number = (value) => (value ?? 0).toLocaleString("en");
export const ms = (value) => (value === null || value === undefined ? "–" : value < 10 ? `${value.toFixed(2)} ms` : value < 100 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`);
export const percent = (part) => (part === null || part === undefined ? "–" : `${(part * 100).toFixed(part > 0 && part < 0.1 ? 1 : 0)} %`);

function scaled(count, base, units) {
  let value = count ?? 0;
  let unit = 0;
  while (value >= base && unit < units.length - 1) { value /= base; unit += 1; }
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

export const bytes = (count) => scaled(count, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);

/** Bytes as quotas are given, in powers of a thousand. */
export const decimalBytes = (count) => scaled(count, 1000, ["B", "kB", "MB", "GB", "TB"]);

export function age(seconds) {
  const parts = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];
  let rest = Math.max(0, Math.round(seconds ?? 0));
  const used = [];
  for (const [size, name] of parts) {
    if (rest >= size || (size === 1 && !used.length)) { used.push(`${Math.floor(rest / size)}${name}`); rest %= size; }
  }
  return used.slice(0, 2).join(" ");
}

export function flag(code) {
  if (!/^[A-Z]{2}$/.test(code ?? "")) return "unknown country";
  try { return new Intl.DisplayNames(["en"], { type: "region" }).of(code); } catch { return code; }
}

export function table(caption, heads, rows) {
  const name = (head) => head.name ?? head;
  return el("div.scroll", { tabindex: "0", role: "region", "aria-label": caption },
    el(heads.length > 3 ? "table.wide" : "table", el("caption", caption),
      el("thead", el("tr", heads.map((head) => el("th", { scope: "col", class: head.num ? "num" : null }, name(head))))),
      el("tbody", rows.map((row) => el("tr", row.map((cell, index) => {
        const about = { class: [heads[index].num ? "num" : "", cell === "–" ? "none" : ""].join(" ").trim() || null, "data-name": name(heads[index]) };
        return index === 0 ? el("th", { scope: "row", ...about }, el("span", cell)) : el("td", about, el("span", cell));
      }))))));
}

export const num = (name) => ({ name, num: true });

const icon = (path) => svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true", fill: "none", stroke: "currentColor", "stroke-width": "2", "stroke-linecap": "round", "stroke-linejoin": "round" }, svg("path", { d: path }));
const you = "M4 5h16v10H4z M9 20h6 M12 15v5";
const globe = "M12 3a9 9 0 1 0 0 18a9 9 0 0 0 0-18z M3 12h18 M12 3c3 3 3 15 0 18 M12 3c-3 3-3 15 0 18";

/** The way of a circuit, with what each hop answers now. */
export function path(circuit, trace, isBusy) {
  const hops = circuit.hops.map((hop, index) => {
    const seen = trace?.circuit === circuit.id ? trace.hops[index] : null;
    const isSilent = seen ? seen.received === 0 : hop.silent === true;
    const trip = seen?.received ? seen.round_trips.avg_ms : hop.rtt_ms;
    return el("li.stop", { class: `${roles[index]}${isSilent ? " silent" : ""}`, "data-hop": hop.position, "data-silent": isSilent ? "yes" : null },
      el("span.dot", { "aria-hidden": "true" }, String(hop.position)),
      el("b", hop.nickname), el("small", `${roles[index]} · ${hop.country}`),
      el("span.trip", isSilent ? "no answer" : ms(trip)));
  });
  return el("ol.path", { class: isBusy ? null : "still", "aria-label": "The path of the circuit in use" },
    el("li.stop.you", el("span.dot", icon(you)), el("b", "You"), el("small", "this machine"), el("span.trip", "")),
    hops,
    el("li.stop.net", el("span.dot", icon(globe)), el("b", "Internet"), el("small", "sees the exit only"), el("span.trip", "")));
}

/** Two rates over the last two minutes. */
export function rates(samples) {
  const width = 600, height = 130;
  const top = Math.max(1024, ...samples.map((one) => Math.max(one.sent, one.received)));
  const line = (name) => samples.map((one, index) => {
    const x = width - (samples.length - 1 - index) * (width / 119);
    return `${x.toFixed(1)} ${(height - 6 - (one[name] / top) * (height - 26)).toFixed(1)}`;
  });
  const drawn = ["received", "sent"].flatMap((name) => {
    const points = line(name);
    if (points.length < 2) return [];
    const first = points[0].split(" ")[0];
    return [
      svg(`path.area-${name}`, { d: `M${first} ${height}L${points.join("L")}L${width} ${height}z` }),
      svg(`path.line-${name}`, { d: `M${points.join("L")}` }),
    ];
  });
  return svg("svg.wide", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Rates of the last two minutes, at most ${bytes(top)} a second` },
    svg("path.axis", { d: `M0 ${height - 0.5}H${width}M0 20.5H${width}` }), drawn);
}

/** Cells of a schedule each second over the last two minutes: what is real, and the cover above it. */
export function schedule(samples, rate) {
  const width = 600, height = 110, count = 120;
  const top = Math.max(1, rate ?? 0, ...samples.map((one) => one.real + one.cover)) * 1.08;
  const y = (value) => (height - value / top * (height - 4)).toFixed(1);
  const x = (index) => (width - (samples.length - 1 - index) * (width / (count - 1))).toFixed(1);
  const area = (pick) => `M${x(0)} ${height}L${samples.map((one, index) => `${x(index)} ${y(pick(one))}`).join("L")}L${width} ${height}z`;
  const drawn = samples.length < 2 ? [] : [
    svg("path.area-cover", { d: area((one) => one.real + one.cover) }),
    svg("path.area-real", { d: area((one) => one.real) }),
  ];
  return svg("svg.wide", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Cells sent each second of the last two minutes: real ones below, cover above" },
    drawn, svg("path.axis", { d: `M0 ${height - 0.5}H${width}` }));
}

/** How long the last loops to the exit took, one dot each, the newest at the right. */
export function trips(loops) {
  const width = 600, height = 90, count = 40;
  const top = Math.max(50, ...loops) * 1.15;
  return svg("svg.wide", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Round trips of the last ${loops.length} loops, at most ${ms(Math.max(0, ...loops))}` },
    svg("path.axis", { d: `M0 ${height - 0.5}H${width}` }),
    loops.map((loop, index) => svg("circle.trip-dot", { cx: (width - 8 - (loops.length - 1 - index) * (width - 16) / (count - 1)).toFixed(1), cy: (height - loop / top * (height - 8)).toFixed(1), r: 4 }, svg("title", ms(loop)))));
}

/** How much of what is allowed is used. */
export function meter(name, text, part) {
  return el("div.meter", el("div.row.apart", el("span", name), el("strong", text)),
    part === null ? null : svg("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("rect.trough", { width: 100, height: 10 }), svg("rect.bar", { class: part > 0.9 ? "full" : null, width: Math.min(100, Math.max(0.5, part * 100)), height: 10 })));
}

/** What became of a sum, as parts of one bar; the figures beside it say the same. */
export function parts(name, list) {
  const whole = list.reduce((sum, one) => sum + one.value, 0);
  let from = 0;
  return svg("svg.parts", { viewBox: "0 0 100 8", preserveAspectRatio: "none", role: "img", "aria-label": `${name}: ${list.map((one) => `${one.name} ${percent(whole ? one.value / whole : 0)}`).join(", ")}` },
    svg("rect.trough", { width: 100, height: 8 }),
    list.filter((one) => one.value > 0).map((one) => {
      const start = from;
      from += one.value / whole * 100;
      return svg("rect", { class: `part-${one.name}`, x: start.toFixed(2), width: (from - start).toFixed(2), height: 8 });
    }));
}

/** Bits a second. */
export const bits = (rate) => scaled(rate, 1000, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"]);

/** What the upper line of the picture of rates stands for. */
export const peak = (samples) => bytes(Math.max(1024, ...samples.map((one) => Math.max(one.sent, one.received))));

/** A cell as the hop at `index` finds it: layers taken off before are dashed, its own is the outermost left. */
export function layers(index) {
  const sizes = [1356, 1332, 1308];
  return svg("svg.wide", { viewBox: "0 0 240 130", role: "img", "aria-label": `Hop ${index + 1} opens its layer of ${sizes[index]} bytes; ${2 - index} layers stay closed inside` },
    sizes.map((size, place) => {
      const inset = place * 20;
      return [
        svg(`rect.layer.${roles[place]}`, { class: place < index ? "open" : "", x: 3 + inset * 1.5, y: 3 + inset, width: 234 - inset * 3, height: 124 - inset * 2, rx: 11 }),
        place >= index && place < 2 ? svg("text.faint", { x: 120, y: 18 + inset, "text-anchor": "middle" }, `${size} B`) : null,
      ];
    }),
    svg("text", { x: 120, y: 69, "text-anchor": "middle" }, index === 2 ? "your packets" : "sealed"));
}

/** What the picture of layers says, in words. */
export const peeled = (index) => [
  "opens 1356 bytes; what is inside is sealed for middle and exit",
  "opens 1332 bytes; what is inside is sealed for the exit",
  "opens 1308 bytes, and has your packets before it",
][index];

/** The part of the map that holds `spots`, with room around them; on a narrow screen a taller one. */
function frame(spots, ratio, least) {
  if (!spots.length) return { x: 0, y: 0, width: 1000, height: 410 };
  const [left, right] = [Math.min(...spots.map((one) => one[0])), Math.max(...spots.map((one) => one[0]))];
  const [top, bottom] = [Math.min(...spots.map((one) => one[1])), Math.max(...spots.map((one) => one[1]))];
  const width = Math.min(1000, Math.max(least, (right - left) * 1.35 + 40, ((bottom - top) * 1.35 + 40) / ratio));
  const height = Math.min(410, width * ratio);
  const place = (middle, size, most) => Math.max(0, Math.min(most - size, middle - size / 2));
  return { x: place((left + right) / 2, width, 1000), y: place((top + bottom) / 2, height, 410), width, height };
}

/**
 * Where names stand: each beside its mark at the first place that is free of marks and of other names.
 *
 * Hops of the circuit in use come first; of the others one that has no place goes without, as on any map.
 */
function names(marks, shown, scale) {
  const gap = 3 * scale, height = 14 * scale;
  const meets = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const discs = marks.map((one) => ({ left: one.x - one.size, right: one.x + one.size, top: one.y - one.size, bottom: one.y + one.size }));
  const taken = [];
  return [...marks].reverse().flatMap((one) => {
    const width = one.text.length * 9.2 * scale, out = one.size + gap, slant = 0.7 * one.size + gap;
    const lefts = [one.x + out, one.x - out - width, one.x - width / 2, one.x - width / 2, one.x + slant, one.x + slant, one.x - slant - width, one.x - slant - width];
    const tops = [one.y - height / 2, one.y - height / 2, one.y - out - height, one.y + out, one.y - slant - height, one.y + slant, one.y - slant - height, one.y + slant];
    const boxes = lefts.map((left, index) => ({ left, right: left + width, top: tops[index], bottom: tops[index] + height }))
      .filter((box) => box.left > shown.x && box.right < shown.x + shown.width && box.top > shown.y && box.bottom < shown.y + shown.height)
      .map((box) => ({ ...box, hits: [...discs, ...taken].filter((other) => meets(box, other)).length }));
    const best = boxes.find((box) => box.hits === 0) ?? (one.role >= 0 ? boxes.sort((a, b) => a.hits - b.hits)[0] : null);
    if (!best) return [];
    taken.push(best);
    return [{ text: one.text, x: best.left, y: best.bottom - 2.5 * scale }];
  });
}

/** The relays of the network by country, and the way of the circuit in use. */
export function map(relays, circuit) {
  const byCountry = new Map();
  for (const relay of relays) byCountry.set(relay.country, [...(byCountry.get(relay.country) ?? []), relay]);
  const spot = (code) => world[code]?.c;
  const isNarrow = innerWidth <= 640;
  const shown = frame([...byCountry.keys()].map(spot).filter(Boolean), isNarrow ? 0.8 : 0.41, isNarrow ? 110 : 230);
  // Marks and names are as large as on a wide screen, whatever the part that is shown.
  const scale = shown.width / (isNarrow ? 380 : 1000);
  const stops = (circuit?.hops ?? []).map((hop) => spot(hop.country)).filter(Boolean);
  const bends = stops.slice(1).map((end, index) => {
    const start = stops[index];
    return `M${start[0]} ${start[1]}Q${(start[0] + end[0]) / 2} ${Math.min(start[1], end[1]) - 40 * scale - Math.abs(start[0] - end[0]) / 8} ${end[0]} ${end[1]}`;
  });
  const unplaced = [...byCountry].filter(([code]) => !spot(code)).reduce((sum, [, list]) => sum + list.length, 0);
  const marks = [...byCountry].filter(([code]) => spot(code)).map(([code, list]) => {
    const [x, y] = spot(code);
    const role = (circuit?.hops ?? []).findIndex((hop) => hop.country === code);
    return { x, y, role, code, list, size: Math.min(18, 5 + 2.6 * Math.sqrt(list.length)) * scale, text: list.length === 1 ? code : `${code} ${list.length}` };
  }).sort((a, b) => (a.role >= 0) - (b.role >= 0) || a.list.length - b.list.length);
  const letters = names(marks, shown, scale);
  return [svg("svg.wide.map", { viewBox: [shown.x, shown.y, shown.width, shown.height].map((one) => one.toFixed(1)).join(" "), role: "img", "aria-label": `Map: ${relays.length} relays in ${byCountry.size} countries; the table below lists them` },
    Object.entries(world).filter(([, place]) => place.d).map(([code, place]) =>
      svg("path.land", { class: byCountry.has(code) ? "has" : "", d: place.d, "stroke-width": (0.7 * scale).toFixed(2) })),
    bends.map((d) => svg("path.way", { d, "stroke-width": (2.4 * scale).toFixed(2), "stroke-dasharray": `${(7 * scale).toFixed(2)} ${(5 * scale).toFixed(2)}` })),
    marks.map((one) => svg("circle.mark", { class: one.role >= 0 ? roles[one.role] : "other", cx: one.x, cy: one.y, r: one.size.toFixed(2), "stroke-width": (1.6 * scale).toFixed(2) },
      svg("title", `${flag(one.code)}: ${one.list.length === 1 ? one.list[0].nickname : `${one.list.length} relays`}`))),
    letters.map((one) => svg("text.place", { x: one.x.toFixed(1), y: one.y.toFixed(1), "font-size": (14 * scale).toFixed(2), "stroke-width": (3.5 * scale).toFixed(2) }, one.text))),
  unplaced ? el("p.quiet", `${unplaced} relays are not on the map: their country is not known.`) : null];
}

/** Parts of a whole as bars. */
export function bars(parts) {
  const top = Math.max(0.25, ...parts.map((part) => part.share));
  return el("dl.bars", parts.map((part) => el("div", el("dt", { title: part.name }, part.name),
    el("dd", svg("svg", { viewBox: "0 0 100 12", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("rect.trough", { width: 100, height: 12 }), svg("rect.bar", { width: Math.max(1, part.share / top * 100), height: 12 }))),
    el("dd.num", percent(part.share)))));
}

export function seal(isSigned) {
  return svg(isSigned ? "svg" : "svg.blank", { viewBox: "0 0 32 32", "aria-hidden": "true" },
    svg("path.seal", { d: "M16 2l3 3 4-1 1 4 4 1-1 4 3 3-3 3 1 4-4 1-1 4-4-1-3 3-3-3-4 1-1-4-4-1 1-4-3-3 3-3-1-4 4-1 1-4 4 1z" }),
    isSigned ? svg("path.seal-tick", { d: "M10 16.5l4 4 8-9" }) : null);
}
