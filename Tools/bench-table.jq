# What Tools/bench prints, from what bench-report.jq makes. A module.
include "bench-report";

def fixed(digits): if . == null then "-" else . * pow(10; digits) | round | tostring
    | if digits == 0 then . else
        ("0" * ([digits + 1 - length, 0] | max) // "") + . | .[:-digits] + "." + .[-digits:]
    end end;

# Three digits or so, whatever the size.
def short: if . == null then "-" elif . >= 100 then fixed(0) elif . >= 10 then fixed(1)
    else fixed(2) end;

def left(width): . + (" " * ([width - length, 0] | max) // "");
def right(width): (" " * ([width - length, 0] | max) // "") + .;

def percent: if . == null then "-" else "\(. * 100 | round) %" end;
def thousands: if . == null then "-" else "\(. / 1000 | round) k" end;
def streams: "\(.direction), \(.streams) stream\(if .streams == 1 then "" else "s" end)";
def speed: "\(.median | fixed(2)) [\(.min | fixed(2))-\(.max | fixed(2))]";

# --- What one step says -------------------------------------------------------------------------

def tcp_step($links; $direction; $streams; $paths):
    [inputs | select(.links == $links and .direction == $direction
        and .streams == ($streams | tonumber))] | tcp_results
    | [$paths[] as $path | .[] | select(.path == $path)]
    | map(.gbit_per_s | speed) as $speeds
    | (.[0].share_of_limit | if . then " = \(percent)" else "" end) as $share
    | ($speeds | join(" of ")) + $share
        + (map(.spoilt_runs) | add | if . > 0 then ", \(.) spoilt" else "" end);

def trips_step($path; $ecn; $direction; $streams):
    [inputs | select(.path == $path and .ecn == ($ecn == "ecn") and .direction == $direction
        and .streams == ($streams | tonumber))] | trip_results[0]
    | "\(.median_ms | short) ms, p99 \(.p99_ms | short)"
        + (if .streams > 0 then ", at \(.gbit_per_s | fixed(2)) Gbit/s" else "" end)
        + (if .received < .sent - 1 then ", \(.sent - .received) lost" else "" end);

# Packets a second with less than 1 % lost, of what udp_results says of a path.
def best_rate: if .best then .best.sent_per_s | thousands
    else "< \([.runs[].rate | select(. > 0)] | min | thousands)" end;

def udp_step($path):
    [inputs | select(.path == $path)] | udp_results[0]
    | "\(best_rate)/s < 1 % lost, flood \(.flood.delivered_per_s | thousands)/s";

def memory_step($path):
    [inputs | select(.path == $path)] | memory_results[0].mib | to_entries
    | map("\(.key) \(.value | short)") | join(", ") + " MiB";

def times_step($what):
    [inputs | select(.what == $what)] | time_results[$what]
    | "median \(.median | short) ms, p99 \(.p99 | short) (\(.count) times)";

def step_result: $ARGS.positional as [$kind, $a, $b, $c, $d]
    | if $kind == "tcp" then tcp_step($a; $b; $c; $ARGS.positional[4:])
    elif $kind == "trips" then trips_step($a; $b; $c; $d)
    elif $kind == "udp" then udp_step($a)
    elif $kind == "times_ms" then times_step($a)
    else memory_step($a) end;

# --- The tables at the end ----------------------------------------------------------------------

# Runs of Umbel, side by side with the limit's.
def tcp_table($links; $title):
    . as $tcp | [.[] | select(.links == $links and .path == "umbel")]
    | if length == 0 then empty else
        ("", ($title | left(46)) + "CPU seconds per GiB",
        ("" | left(18)) + ("Gbit/s" | left(18)) + "of the    client guard middle   exit   path  foreign",
        ("" | left(18)) + ("median [min-max]" | left(18)) + "limit"
            + ("" | left(33)) + "     cores",
        (.[] | ("  \(streams)" | left(18)) + (.gbit_per_s | speed | left(18))
            + (.share_of_limit | percent | left(6))
            + (.cpu_s_per_gib | [.client, .guard, .middle, .exit] | map(fixed(2) | right(7)) | add)
            + (.cpu_s_per_gib_path | fixed(2) | right(7))
            + (.foreign_cores.max | fixed(2) | right(7)))) end;

def peer_table:
    . as $tcp | [.[] | select(.path != "umbel")]
    | if length == 0 then empty else
        ("", ("Others, the same way" | left(46)) + "CPU seconds per GiB",
        ("" | left(28)) + ("Gbit/s" | left(18)) + "Umbel is client  relay   path  foreign",
        (.[] | . as $one
            | (([$tcp[] | select(.path == "umbel" and .links == $one.links
                and .direction == $one.direction and .streams == $one.streams)][0]) // null) as $ours
            | ("  \(.path), \(.direction), \(.streams)\(
                if .links == "whole" then "" else ", cut" end)" | left(28))
            + (.gbit_per_s | speed | left(18))
            + (if $ours then "\($ours.gbit_per_s.median / .gbit_per_s.median | short)x" else "-" end
                | left(8))
            + (.cpu_s_per_gib | [.client, .middle] | map(fixed(2) | right(7)) | add)
            + (.cpu_s_per_gib_path | fixed(2) | right(7))
            + (.foreign_cores.max | fixed(2) | right(8)))) end;

def trip_table:
    . as $trips | if length == 0 then empty else
        ("", ("Round trip, ms: median (p99)" | left(68)) + "Gbit/s meanwhile  foreign",
        (.[] | ("  \(.path)\(if .ecn then ", with ECN" else "" end)" | left(26))
            + ((if .streams == 0 then "idle" else "under \(streams)" end) | left(24))
            + ("\(.median_ms | short) (\(.p99_ms | short))" | left(18))
            + (if .streams == 0 then "" else .gbit_per_s | fixed(2) end | right(16))
            + (.foreign_cores | fixed(2) | right(9)))) end;

# A row of the table at the very end: columns are paths.
def row($title; $required; f):
    ($title | left(28)) + (["umbel", "limit", "wireguard-3", "wireguard-1", "tor"]
        | map(f | if . == null then "-" else . end | right(12)) | add) + "  " + $required;

def worth($list; $path; $direction; $streams; f):
    [$list[] | select(.path == $path and .direction == $direction and .streams == $streams
        and (.links // "whole") == "whole")][0]
    | if . == null then null else f end;

def trip_text: "\(.median_ms | short) (\(.p99_ms | short))";

# Under one stream: up, or for want of that, down.
def loaded($list; $path; $ecn): [$list[] | select(.path == $path and .streams == 1 and .ecn == $ecn)]
    | sort_by(.direction != "up")[0] | if . == null then null else trip_text end;

def summary: . as $all | .times_ms as $times
    | def mem($path; $role): [$all.memory[] | select(.path == $path)][0].mib[$role];
    "", ("" | left(28)) + (["Umbel", "limit", "WG x3", "WG x1", "Tor"]
        | map(right(12)) | add) + "  required",
    row("TCP up, 1 stream, Gbit/s"; ">= 3.2";
        . as $p | worth($all.tcp; $p; "up"; 1; .gbit_per_s.median | fixed(2))),
    row("TCP down, 1 stream, Gbit/s"; ">= 3.2";
        . as $p | worth($all.tcp; $p; "down"; 1; .gbit_per_s.median | fixed(2))),
    row("CPU s/GiB down, whole path"; "<= 4.5";
        . as $p | worth($all.tcp; $p; "down"; 1; .cpu_s_per_gib_path | fixed(2))),
    row("  client"; "<= 1.5";
        . as $p | worth($all.tcp; $p; "down"; 1; .cpu_s_per_gib.client | fixed(2))),
    row("  one relay"; "<= 0.8";
        . as $p | worth($all.tcp; $p; "down"; 1; .cpu_s_per_gib.middle | fixed(2))),
    row("64-byte UDP, packets/s"; ">= 60 k";
        . as $p | [$all.udp_64_bytes[] | select(.path == $p)][0] | if . then best_rate else null end),
    row("round trip idle, ms (p99)"; "< 0.4 (1)";
        . as $p | worth($all.round_trips; $p; "idle"; 0; trip_text)),
    row("  under one stream"; "< 3 (8)"; . as $p | loaded($all.round_trips; $p; false)),
    row("  the same, with ECN"; "< 0.6 (1.5)"; . as $p | loaded($all.round_trips; $p; true)),
    row("circuit build, ms (p99)"; "< 3 (10)";
        if . == "umbel" then $times.circuit elif . == "tor" then $times["tor build"] else null end
        | if . then "\(.median | short) (\(.p99 | short))" else null end),
    row("cold start to first byte, s"; "< 1";
        if . == "umbel" then $times["cold start"] elif . == "tor" then $times["tor cold start"]
        else null end | if . then .median / 1000 | fixed(2) else null end),
    row("MiB after load, one relay"; "<= 64";
        . as $p | mem($p; "middle") | if . then short else null end);

# All of it, a line each.
def table: def lines:
    "\(.machine), \(.cores) cores, Linux \(.kernel), \(.date), \(.commit)",
    "All nodes, server and clients share these cores: read ratios and CPU, not speeds.",
    (.tcp | tcp_table("whole"; "TCP through three hops"), tcp_table("cut";
        "The same, packet by packet on every cable"), peer_table),
    (.round_trips | trip_table),
    "",
    (.far_round_trip_ms as $far | .times_ms | to_entries[] | ("  \(.key), ms" | left(46))
        + (.value | "\(.median | short) [\(.min | short)-\(.max | short)], p99 \(.p99 | short), \(
            .count) times") + (if .key == "circuit, 20 ms links"
            then "\n" + ("" | left(46)) + "at a round trip of \($far | short) ms" else "" end)),
    (.udp_64_bytes[] | ("  \(.path), packets of 64 bytes" | left(46))
        + "\(best_rate)/s with < 1 % lost, flood delivers \(.flood.delivered_per_s | thousands)/s"),
    (.from_memory[] | ("  \(.name), from memory" | left(46)) + "\(.median | round) \(.unit)"),
    (.memory[] | ("  \(.path), MiB after load" | left(46)) + (.mib | to_entries
        | map("\(.key) \(.value | short)") | join(", "))),
    summary,
    "",
    (.tcp | map(.spoilt_runs) | add // 0) as $spoilt
    | (.tcp | map(.runs_in_all) | add // 0) as $runs_in_all
    | (.tcp | map(.spoilt_runs_counted) | add // 0) as $counted
    | "\($spoilt) of \($runs_in_all) runs of TCP lost \(.spoilt_at_cores) cores or more to others\(
        if $counted > 0 then "; \($counted) of them count, for want of better ones" else "" end).",
    (.skipped[] | "skipped: \(.path): \(.why)"),
    (.versions | to_entries | select(length > 0) | map("\(.key) \(.value)")
        | "Others are of these versions: \(join(", "))."),
    "Took \(.took_s) s, \(.runs) runs of \(.seconds_per_run) s each.";
    [lines] | join("\n") | split("\n")[] | sub(" +$"; "");
